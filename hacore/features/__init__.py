"""Features of a frozen image encoder, kept on disk and read by every training after that.

``mapped``: files as one array. ``store``: the folder of a store. ``describe``: whether a store is what a spec
says. The package hacore-features makes stores.
"""
