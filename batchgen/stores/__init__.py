"""Places outside this machine where files lie: object stores and web servers.

`address` tells an address from a path, `protocol` says what every store can do, `opening` gives the store of an
address. Libraries are imported only when a store that needs them is opened.
"""
