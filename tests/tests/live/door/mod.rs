//! The door of a node: where it is found, where its own dials come from, and who is let in.

mod places;
