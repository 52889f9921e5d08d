//! Refs as parts of messages: on the wire a ref carries the address of its node, and whoever reads
//! it there turns that into a ref of its own. Such a message costs more than others: the address is
//! looked up behind a lock, and copied, for each ref in it.

use std::rc::Rc;

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::archive::rkyv::rancor::Fallible;
use ringmesh_proto::archive::rkyv::{Archive, Deserialize, Place, Serialize};
use ringmesh_proto::fingerprint::Fingerprint;
use ringmesh_proto::message::WireSafe;
use ringmesh_proto::shape::Shape;

use crate::actor::Protocol;
use crate::core::{Core, Home, NodeIndex, TableId, current};
use crate::reference::Ref;

/// A [`Ref`] on the wire. Its archived form is what a message with a ref in it holds.
#[crate::wire(crate = crate)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireRef {
    /// The process start.
    uid: u64,
    generation: u64,
    /// The hash of the protocol's name.
    protocol: u64,
    slot: u32,
    core: u16,
    /// The canonical address of the node; empty when the core that sent it did not know it.
    address: String,
}

/// Stands in a ref that names nobody.
const NOBODY: Uid = Uid::new(1).expect("one is not zero");

impl WireRef {
    fn of<P: Protocol>(reference: &Ref<P>) -> Self {
        let home = Home {
            table: reference.recipient.table,
            node: reference.recipient.node,
        };
        let address = current::try_with(|core| core.address_of(home)).flatten();
        Self {
            uid: reference.recipient.uid.as_u64(),
            generation: reference.recipient.generation,
            protocol: P::ID.as_u64(),
            slot: reference.recipient.slot,
            core: reference.recipient.core.0,
            address: address.map_or_else(String::new, |address| address.to_string()),
        }
    }
}

impl ArchivedWireRef {
    /// The ref, for use on this core. Its node is known here from now on, and is dialled by the
    /// first send.
    ///
    /// A ref that means nothing here reaches nobody: sends say that its actor does not run. So it
    /// is when it was made for another protocol, when its address cannot be read, when the core
    /// knows as many peers as it may, and off a core.
    pub fn get<P: Protocol>(&self) -> Ref<P> {
        let found = current::try_with(|core| self.find::<P>(core)).flatten();
        found.unwrap_or_else(|| self.nobody())
    }

    fn find<P: Protocol>(&self, core: &Rc<Core>) -> Option<Ref<P>> {
        if self.protocol != P::ID.as_u64() {
            return None;
        }
        let uid = Uid::new(self.uid.to_native())?;
        let address: Address = self.address.parse().ok()?;
        let there = CoreId(self.core.to_native());
        Some(self.at(uid, core.home_of(&address, uid, there)))
    }

    /// A ref that no table knows the node of.
    fn nobody<P: Protocol>(&self) -> Ref<P> {
        let uid = Uid::new(self.uid.to_native()).unwrap_or(NOBODY);
        let home = current::try_with(|core| core.home(NodeIndex::NOWHERE));
        let nowhere = Home {
            table: TableId::default(),
            node: NodeIndex::NOWHERE,
        };
        self.at(uid, home.unwrap_or(nowhere))
    }

    fn at<P: Protocol>(&self, uid: Uid, home: Home) -> Ref<P> {
        let core = CoreId(self.core.to_native());
        let (slot, generation) = (self.slot.to_native(), self.generation.to_native());
        Ref::new(uid, home, core, slot, generation)
    }
}

impl<P: Protocol> WireSafe for Ref<P> {
    const FINGERPRINT: u64 = Fingerprint::structure()
        .field("ref", WireRef::FINGERPRINT)
        .field("protocol", P::ID.as_u64())
        .finish();
    const SHAPE: &'static Shape = &Shape::Ref(P::NAME);
    const DEPTH: u32 = WireRef::DEPTH;
    const POD: bool = false;
}

impl<P: Protocol> Archive for Ref<P> {
    type Archived = ArchivedWireRef;
    type Resolver = <WireRef as Archive>::Resolver;

    fn resolve(&self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        WireRef::of(self).resolve(resolver, out);
    }
}

impl<P: Protocol, S> Serialize<S> for Ref<P>
where
    S: Fallible + ?Sized,
    WireRef: Serialize<S>,
{
    fn serialize(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        WireRef::of(self).serialize(serializer)
    }
}

impl<P: Protocol, D: Fallible + ?Sized> Deserialize<Ref<P>, D> for ArchivedWireRef {
    fn deserialize(&self, _: &mut D) -> Result<Ref<P>, D::Error> {
        Ok(self.get())
    }
}
