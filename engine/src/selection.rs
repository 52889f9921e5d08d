//! Actors of one node by a pattern of their paths: found, and told.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, ParseAddressError, Uid};
use ringmesh_proto::message::Message;

use crate::actor::{Accepts, Protocol};
use crate::core::Core;
use crate::directory::{self, Select, Verdict};
use crate::error::{AskError, ResolveError, SendError};
use crate::message::Msg;
use crate::pattern::Pattern;
use crate::reference::Ref;
use crate::resolve::Search;

/// What stands in front of the names in a path.
const USER: &str = "/user/";

/// Actors that a selection finds, unless it says otherwise.
const AT_MOST: usize = 1 << 10;

/// The actors of a node whose paths match a pattern, and that speak the protocol `P`, whoever they
/// are when it is asked. Made by [`Node::select`](crate::Node::select).
///
/// It is no ref: it finds those who run when it is used, also in another start of the process, and
/// finds nobody who has no name. Order is kept among what is told to those it found as for any
/// [`Ref`], not between two uses of it.
pub struct Selection<P> {
    core: Rc<Core>,
    path: String,
    address: Address,
    /// Where the names begin in the path.
    names: usize,
    timeout: Option<Duration>,
    at_most: usize,
    marker: PhantomData<fn() -> P>,
}

/// What became of a message that was told to a selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FanOut {
    /// Actors that were found: `sent` and `refused`.
    pub matched: usize,
    /// Those it was sent to, as [`Ref::tell`] sends it.
    pub sent: usize,
    /// Those it was not sent to, because there was no room by the deadline, or they are gone.
    pub refused: usize,
}

/// Why a selection was not resolved. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The text is no `ringmesh://system@host:port/user/names`, nor `/user/names`; or its names
    /// break a rule for names, or are too long or too many.
    #[error(transparent)]
    Path(#[from] ParseAddressError),
    /// The node did not answer; [`ResolveError`] says how far that got.
    #[error(transparent)]
    Node(ResolveError),
    /// The node runs a version that knows no selections. Resolve the paths one by one.
    #[error("the node of `{path}` knows no selections: its version is too old")]
    TooOld {
        /// The path.
        path: String,
    },
    /// The node does not let this one select, which is a client.
    #[error("the node of `{path}` refuses selections of this one")]
    Refused {
        /// The path.
        path: String,
    },
    /// More actors match than were wanted. See [`Selection::at_most`].
    #[error("more than {limit} actors match `{path}`")]
    TooMany {
        /// The path.
        path: String,
        /// How many were wanted.
        limit: usize,
    },
    /// No actor matches, and one was wanted.
    #[error("no actor matches `{path}`")]
    Nobody {
        /// The path.
        path: String,
    },
}

impl<P: Protocol> Selection<P> {
    pub(crate) fn new(core: &Rc<Core>, path: &str) -> Result<Self, SelectError> {
        let (address, names) = path.split_once(USER).ok_or(ParseAddressError::Path)?;
        Pattern::new(names)?;
        let address = if address.is_empty() {
            core.identity().address.clone()
        } else {
            address.parse()?
        };
        Ok(Self {
            core: Rc::clone(core),
            names: path.len() - names.len(),
            path: path.to_owned(),
            address,
            timeout: None,
            at_most: AT_MOST,
            marker: PhantomData,
        })
    }

    /// Waits at most `timeout`, instead of the `ask_timeout` of the settings, for the node's
    /// answers; and for room, if something is told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Finds at most so many actors, instead of 1024. If there are more that is an error: nobody is
    /// left out unsaid.
    #[must_use]
    pub fn at_most(mut self, limit: usize) -> Self {
        self.at_most = limit;
        self
    }

    /// The refs of all that match, in the order of their paths. Dials the node if needed, and asks
    /// until the deadline.
    ///
    /// The node is asked for a page of names after the other: who is spawned or ends meanwhile may
    /// be among them or not, and everybody else is there once.
    ///
    /// # Errors
    /// [`SelectError`].
    pub async fn resolve(&self) -> Result<Vec<Ref<P>>, SelectError> {
        let mut search = self.search()?;
        self.find(&mut search).await
    }

    /// The only one that matches.
    ///
    /// # Errors
    /// [`SelectError`]; of none [`Nobody`](SelectError::Nobody), of several
    /// [`TooMany`](SelectError::TooMany).
    pub async fn resolve_one(&self) -> Result<Ref<P>, SelectError> {
        let one = Self {
            core: Rc::clone(&self.core),
            path: self.path.clone(),
            address: self.address.clone(),
            at_most: 1,
            ..*self
        };
        let found = one.resolve().await?;
        let path = || self.path.clone();
        let first = found.first().copied();
        first.ok_or_else(|| SelectError::Nobody { path: path() })
    }

    /// Tells each that matches what `message` makes for it, in the order of their paths. Those that
    /// have no room are waited for until the deadline, all at once and behind the others.
    ///
    /// # Errors
    /// [`SelectError`]; nothing was sent.
    pub async fn tell<M>(&self, mut message: impl FnMut() -> M) -> Result<FanOut, SelectError>
    where
        M: Message,
        P: Accepts<M>,
    {
        let mut search = self.search()?;
        let found = self.find(&mut search).await?;
        let mut fan_out = FanOut {
            matched: found.len(),
            ..FanOut::default()
        };
        let mut waiting = Vec::new();
        for actor in &found {
            match actor.try_tell(message()) {
                Ok(()) => fan_out.sent += 1,
                Err(SendError::Full(message)) => waiting.push((actor, message)),
                Err(_) => {}
            }
        }
        let patience = search.remaining();
        let waiting = waiting
            .into_iter()
            .map(|(actor, message)| Box::pin(actor.tell(message).timeout(patience)));
        let sent = count_sent(waiting.collect()).await;
        fan_out.sent += sent;
        fan_out.refused = fan_out.matched - fan_out.sent;
        Ok(fan_out)
    }

    fn search(&self) -> Result<Search<'_>, SelectError> {
        let usual = || self.core.settings().ask_timeout;
        let patience = self.timeout.unwrap_or_else(usual);
        let search = Search::new(&self.core, &self.path, &self.address, patience);
        search.map_err(SelectError::Node)
    }

    async fn find(&self, search: &mut Search<'_>) -> Result<Vec<Ref<P>>, SelectError> {
        loop {
            search.begin(&self.address).map_err(SelectError::Node)?;
            let uid = search.link_up().await.map_err(SelectError::Node)?;
            match self.find_in(search, uid).await? {
                Ok(found) => return Ok(found),
                // From the first page on: it may be another start of the process.
                Err(error) => search.asked_in_vain(&error).map_err(SelectError::Node)?,
            }
        }
    }

    /// All pages of one process start; or why one of the questions failed.
    async fn find_in(
        &self,
        search: &Search<'_>,
        uid: Uid,
    ) -> Result<Result<Vec<Ref<P>>, AskError>, SelectError> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let question = Select {
                pattern: self.path[self.names..].to_owned(),
                protocol: directory::protocol_key::<P>(),
                after,
            };
            let directory = directory::of_node(uid, search.home);
            let page = match directory.ask(question).timeout(search.remaining()).await {
                Ok(page) => page,
                Err(AskError::UnknownMessage) => {
                    return Err(SelectError::TooOld { path: self.path() });
                }
                Err(error) => return Ok(Err(error)),
            };
            self.take(&page, (search, uid), &mut found)?;
            if page.last.is_empty() {
                return Ok(Ok(found));
            }
            after = page.last.to_string();
        }
    }

    /// Adds what a page names.
    fn take(
        &self,
        page: &Msg<directory::Selected>,
        (search, uid): (&Search<'_>, Uid),
        found: &mut Vec<Ref<P>>,
    ) -> Result<(), SelectError> {
        match page.verdict.to_native() {
            Verdict::Looked => {}
            // It was checked here too: the other side has other rules.
            Verdict::NoPattern => return Err(ParseAddressError::ActorPath.into()),
            Verdict::Refused => return Err(SelectError::Refused { path: self.path() }),
        }
        for spot in page.spots.iter() {
            if found.len() >= self.at_most {
                let (path, limit) = (self.path(), self.at_most);
                return Err(SelectError::TooMany { path, limit });
            }
            let core = CoreId(spot.core.to_native());
            let (slot, generation) = (spot.slot.to_native(), spot.generation.to_native());
            found.push(Ref::new(uid, search.home, core, slot, generation));
        }
        Ok(())
    }

    fn path(&self) -> String {
        self.path.clone()
    }
}

/// Waits for all of them at once, and says how many were sent.
async fn count_sent<M>(mut waiting: Vec<Pin<Box<impl Future<Output = Result<(), M>>>>>) -> usize {
    let mut sent = 0;
    poll_fn(|context| {
        waiting.retain_mut(|tell| match tell.as_mut().poll(context) {
            Poll::Ready(told) => {
                sent += usize::from(told.is_ok());
                false
            }
            Poll::Pending => true,
        });
        match waiting.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    sent
}

impl<P: Protocol> fmt::Debug for Selection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection")
            .field("path", &self.path)
            .field("protocol", &P::NAME)
            .field("at_most", &self.at_most)
            .finish_non_exhaustive()
    }
}
