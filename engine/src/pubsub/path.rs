//! What single messages are sent to, wherever there is an actor for them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use ringmesh_cluster::pubsub::{NameError, Path as PathName};
use ringmesh_proto::message::Message;

/// Under what actors are [put](crate::Node::put), on whatever nodes, to be sent messages of one
/// type: names with a `/` between them. Two paths of one name and different types have nothing in
/// common.
///
/// ```
/// # use ringmesh::prelude::*;
/// use ringmesh::pubsub::Path;
///
/// #[message(id = "doc.Order", v = 1)]
/// struct Order { article: u64 }
///
/// const ORDERS: Path<Order> = Path::new("shop/orders");
/// ```
pub struct Path<M> {
    name: Cow<'static, str>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Path<M> {
    /// The path of that name. Whether that is one is found out when it is used.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            message: PhantomData,
        }
    }

    /// The path of a name that the program makes as it runs.
    ///
    /// # Errors
    /// [`NameError`]: it is none, for it is empty, too long, or has an empty name in it.
    pub fn named(name: impl Into<String>) -> Result<Self, NameError> {
        let name: String = name.into();
        PathName::new(&name)?;
        Ok(Self {
            name: Cow::Owned(name),
            message: PhantomData,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, if it is one.
    pub(crate) fn checked(&self) -> Result<PathName, NameError> {
        PathName::new(&self.name)
    }
}

impl<M> Clone for Path<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            message: PhantomData,
        }
    }
}

impl<M> fmt::Debug for Path<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({:?})", self.name)
    }
}

impl<M> fmt::Display for Path<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
