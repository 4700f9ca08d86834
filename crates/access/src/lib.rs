//! Who may do what: tokens, the rights that they carry, and the keys that they are checked by.
