//! The operators that a plan can be made of. One file each; this list is the catalogue.
