"""What datasets need to bring files to a disk and to pack images for training. Imports no torch.

``fetch``: a large file over HTTP, gone on with after an interruption. ``archive``: zips from elsewhere.
``stream``: one long list of a JSON file. ``decode``: image files to arrays, by several processes.
``writer``: one array of images, gone on with after an interruption. ``folders``: one maker at a time.

A plugin that imports from here depends on filelock and Pillow; the core itself does not.
"""
