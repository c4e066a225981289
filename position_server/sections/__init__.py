"""The sections: one file each. A file defines `SECTION`, and is found by being here. Imported by workers only."""
