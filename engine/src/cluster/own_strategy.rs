//! A strategy of the program's own, as a setting.

use std::fmt;
use std::sync::Arc;

use ringmesh_cluster::resolver::Strategy;

/// What makes a strategy of the program's own when the node begins: the same on all members.
#[derive(Clone)]
pub struct OwnStrategy(Arc<dyn Fn() -> Box<dyn Strategy> + Send + Sync>);

impl OwnStrategy {
    /// Strategies that `make` makes.
    pub fn new<S: Strategy + 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }

    pub(crate) fn make(&self) -> Box<dyn Strategy> {
        (self.0)()
    }
}

/// The same maker, whatever it makes.
impl PartialEq for OwnStrategy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for OwnStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnStrategy").finish_non_exhaustive()
    }
}
