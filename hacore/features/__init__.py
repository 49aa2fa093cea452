"""Features of a frozen image encoder: computed once, kept on disk, read by every training after that.

``writer``: one shard, gone on with after an interruption. ``mapped``: shards as one array. ``store``: the
folder of a store. ``describe``: whether a store is what a spec says. ``make``: fills a store.
"""
