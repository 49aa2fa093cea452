"""What data sets need to bring files to a disk and to pack images for training. Imports no torch.

``fetch``, ``retrieve``: a large file over HTTP, resumed after an interruption; its room, its checksum.
``archive``: zips from elsewhere. ``stream``: one long list of a JSON file. ``decode``, ``children``: image
files to arrays, by several processes. ``writer``: one array of images, resumed after an interruption.
``packs``, ``making``: folders that are whole or absent. ``folders``: one maker at a time. ``prepare``: all of
it, from official files to a pack.
"""
