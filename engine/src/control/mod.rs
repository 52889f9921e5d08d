//! The control port: what a node shows of itself on the loopback, a line of JSON per command.
//!
//! It has threads of its own, with blocking sockets, and no core has any part in it but one: the
//! links of a node are known to its cores alone, so a task on the control core gathers them when
//! somebody asks. Everything else is read from where the cores write it anyway.

mod json;
mod lines;
mod port;
mod requests;
mod session;

pub(crate) use port::{ControlPort, Desk};
pub(crate) use requests::Requests;
