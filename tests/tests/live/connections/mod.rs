//! The life of connections: who may take a link's place, what counts when one ends, and where a
//! peer with a name is dialled.

mod endings;
mod impostors;
mod names;
