"""The built-in models, one file each: deterministic, without network, found without an import list.

`base` is what a model is made of. A file here defines `MODEL`; its name is the `kind` of a configuration's models.
"""
