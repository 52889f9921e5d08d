//! What most programs need, for one `use ringmesh::prelude::*`.

pub use crate::{
    Actor, AskError, AsyncHandler, Cx, Engine, EngineError, Executed, Handler, IdleMode, Message,
    Msg, Node, Protocol, Ref, ResolveError, SendError, SpawnError, Upgrade, async_handler, message,
    protocol, wire,
};
