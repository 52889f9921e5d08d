//! What most programs need, for one `use ringmesh::prelude::*`.

pub use crate::{
    Actor, AskError, AsyncHandler, Cx, Deploy, Engine, EngineError, Executed, Handler, IdleMode,
    LaterHandler, LocalHandler, LocalMessage, Message, Msg, Node, Placement, Protocol, Ref,
    ReplyTo, ResolveError, SendError, SpawnError, Spawnable, Upgrade, async_handler, later_handler,
    message, protocol, pubsub::Topic, registry::ServiceKey, wire,
};
