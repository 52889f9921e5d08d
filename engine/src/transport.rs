//! What carries bytes between nodes: TCP, and whatever a node is
//! [put into](crate::NodeBuilder::network) beside it.
//!
//! [`MemoryNetwork`] joins nodes of one process, for tests and for programs that run several. Who
//! adds a transport implements [`Transport`], which says what it promises, and [`Network`], which
//! opens one for each core; links, positions, credit and resumption are not its business.

pub use ringmesh_proto::slab::SlabSlice;
pub use ringmesh_transport::buffer::{BufferUse, Chunk};
pub use ringmesh_transport::contract::{
    CloseReason, ConnectionId, Counters, Detached, Event, Network, PREFACE_BYTES, Station,
    Transport,
};
pub use ringmesh_transport::doorbell::Doorbell;
pub use ringmesh_transport::memory::MemoryNetwork;
pub use ringmesh_transport::transports::NETWORKS_MAX;
