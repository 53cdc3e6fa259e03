"""The contract: what a layer is, what it keeps, and how it says that something is wrong."""
