//! stub
#![deny(unsafe_code)]

// The macros name the facade from outside, and this crate uses them too.
extern crate self as ringmesh;

mod actor;
mod chunk;
pub mod message;

pub use actor::{Accepts, Actor, Cx, Handler, Protocol};
pub use message::{Message, Msg};
pub use ringmesh_macros::{message, protocol, wire};

/// What the macros' code names. Not a part of the API: anything here may change at any time.
#[doc(hidden)]
pub mod __private {
    pub use ringmesh_proto as proto;
    pub use ringmesh_proto::archive::rkyv;

    pub use crate::actor::{Delivery, Dispatch, Outcome, deliver, no_such_message};
}
