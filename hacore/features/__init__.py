"""Features of a frozen image encoder, kept on disk and read by every training after that.

``mapped``: files as one array. ``store``: the folder of a store. ``hacore.model.stored`` says whether a store
is what a spec wants, and the package hacore-features makes stores. Imports no torch.
"""
