//! What most programs need, for one `use ringmesh::prelude::*`.

pub use crate::{
    Actor, AskError, AsyncHandler, Cx, Engine, EngineError, Executed, Handler, IdleMode,
    LaterHandler, LocalHandler, LocalMessage, Message, Msg, Node, Protocol, Ref, ReplyTo,
    ResolveError, SendError, SpawnError, Upgrade, async_handler, later_handler, message, protocol,
    wire,
};
