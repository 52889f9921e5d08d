//! What services are found by.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use ringmesh_cluster::registry::limits::KEY_NAME_BYTES_MAX;
use ringmesh_cluster::registry::{Key, Kind};

use crate::actor::Protocol;

/// A text is no name of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a service has {length} bytes, and may have 1 to {KEY_NAME_BYTES_MAX}")]
pub struct ServiceNameError {
    /// How long it is, in bytes.
    pub length: usize,
}

/// What services are found by: a name, and the protocol that is spoken there. Two keys of one name
/// and different protocols have nothing in common.
///
/// ```
/// # use ringmesh::prelude::*;
/// # #[message(id = "doc.Hello", v = 1)]
/// # struct Hello;
/// # protocol! { GreeterApi = "doc.greeter" { Hello } }
/// use ringmesh::registry::ServiceKey;
///
/// const GREETERS: ServiceKey<GreeterApi> = ServiceKey::new("greeters");
/// let of_shop = ServiceKey::<GreeterApi>::named(format!("greeters of shop {}", 7))?;
/// assert_ne!(of_shop, GREETERS);
/// # Ok::<(), ringmesh::registry::ServiceNameError>(())
/// ```
pub struct ServiceKey<P> {
    name: Cow<'static, str>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> ServiceKey<P> {
    /// The key of that name.
    ///
    /// # Panics
    /// If the name is empty or has more than 255 bytes: of a constant the compiler says so.
    pub const fn new(name: &'static str) -> Self {
        assert!(
            !name.is_empty() && name.len() <= KEY_NAME_BYTES_MAX,
            "the name of a service has 1 to 255 bytes"
        );
        Self {
            name: Cow::Borrowed(name),
            protocol: PhantomData,
        }
    }

    /// The key of a name that the program makes as it runs.
    ///
    /// # Errors
    /// [`ServiceNameError`] if the name is empty or has more than 255 bytes.
    pub fn named(name: impl Into<String>) -> Result<Self, ServiceNameError> {
        let name: String = name.into();
        let length = name.len();
        if length == 0 || length > KEY_NAME_BYTES_MAX {
            return Err(ServiceNameError { length });
        }
        Ok(Self {
            name: Cow::Owned(name),
            protocol: PhantomData,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same as the registry knows it.
    pub(crate) fn entry_key(&self) -> Key {
        let key = Key::new(Kind::SERVICE, &self.name, P::ID.as_u64());
        key.expect("the name was measured when this was made")
    }
}

impl<P> Clone for ServiceKey<P> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            protocol: PhantomData,
        }
    }
}

impl<P> PartialEq for ServiceKey<P> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<P> Eq for ServiceKey<P> {}

impl<P: Protocol> fmt::Debug for ServiceKey<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceKey({:?} of {})", self.name, P::NAME)
    }
}

impl<P> fmt::Display for ServiceKey<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::DirectoryApi;

    #[test]
    fn one_over_the_key_name_bytes_max_is_no_name_nor_is_none() {
        let named = |length| ServiceKey::<DirectoryApi>::named("n".repeat(length));
        assert!(named(1).is_ok() && named(KEY_NAME_BYTES_MAX).is_ok());
        for length in [0, KEY_NAME_BYTES_MAX + 1] {
            assert_eq!(named(length).err(), Some(ServiceNameError { length }));
        }
        let key = named(KEY_NAME_BYTES_MAX).expect("a name").entry_key();
        assert_eq!(key.name().len(), KEY_NAME_BYTES_MAX);
    }
}
