//! From a path to a ref: dial the node, then ask its directory.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringmesh_proto::address::{ActorPath, Address, CoreId, Uid};
use ringmesh_proto::quarantine::By;

use crate::actor::Protocol;
use crate::core::{Alarm, CONTROL_CORE, Core, Home, PeerIndex, PeerState};
use crate::directory::{self, Finding, Resolve};
use crate::error::{AskError, ResolveError};
use crate::reference::Ref;

pub(crate) async fn resolve<P: Protocol>(
    core: &Rc<Core>,
    path: &str,
) -> Result<Ref<P>, ResolveError> {
    let wanted: ActorPath = path.parse()?;
    let patience = core.settings().ask_timeout;
    let mut search = Search::new(core, path, &wanted.address, patience)?;
    loop {
        search.begin(&wanted.address)?;
        let uid = search.link_up().await?;
        let question = Resolve {
            name: wanted.name.clone(),
            protocol: directory::protocol_key::<P>(),
        };
        let ask = directory::of_node(uid, search.home)
            .ask(question)
            .timeout(search.remaining());
        let answer = match ask.await {
            Ok(answer) => answer,
            Err(error) => {
                search.asked_in_vain(&error)?;
                continue;
            }
        };
        return match answer.finding.to_native() {
            Finding::Found if wanted.means(answer.generation.to_native()) => {
                let home = CoreId(answer.core.to_native());
                search.node = core.peer_towards(&wanted.address, uid, (home, false))?;
                if search.link_up().await? != uid {
                    // The node was restarted between the answer and now.
                    continue;
                }
                Ok(Ref::new(
                    uid,
                    search.home,
                    home,
                    answer.slot.to_native(),
                    answer.generation.to_native(),
                ))
            }
            Finding::Found | Finding::NotFound => Err(ResolveError::NotFound {
                path: path.to_owned(),
            }),
            Finding::WrongProtocol => Err(ResolveError::WrongProtocol {
                path: path.to_owned(),
                wanted: P::NAME,
            }),
        };
    }
}

/// The way to the directory of a node, until a deadline.
pub(crate) struct Search<'a> {
    core: &'a Rc<Core>,
    path: &'a str,
    node: PeerIndex,
    /// The node, for refs.
    pub(crate) home: Home,
    patience: Duration,
    alarm: Alarm,
    last: String,
    /// Why the host name has no address.
    unknown: Option<String>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        core: &'a Rc<Core>,
        path: &'a str,
        address: &Address,
        patience: Duration,
    ) -> Result<Self, ResolveError> {
        let node = core.peer(address, CONTROL_CORE)?;
        Ok(Self {
            core,
            path,
            node,
            home: core.home(core.number_of(node)),
            patience,
            alarm: core.alarm(patience),
            last: "no link yet".to_owned(),
            unknown: None,
        })
    }

    /// Looks for the control core of the node: after a wait its index may be another peer's.
    pub(crate) fn begin(&mut self, address: &Address) -> Result<(), ResolveError> {
        self.node = self.core.peer(address, CONTROL_CORE)?;
        Ok(())
    }

    /// What is left of its time.
    pub(crate) fn remaining(&self) -> Duration {
        self.alarm.remaining()
    }

    /// Waits for a link to the node and says which process start it reached.
    pub(crate) async fn link_up(&mut self) -> Result<Uid, ResolveError> {
        self.core.look_past_quarantine(self.node);
        poll_fn(|context| {
            match self.core.peer_state(self.node) {
                PeerState::Up(uid) => {
                    self.unknown = None;
                    return Poll::Ready(Ok(uid));
                }
                PeerState::Refused(reason) => {
                    let path = self.path.to_owned();
                    return Poll::Ready(Err(ResolveError::Refused { path, reason }));
                }
                PeerState::Quarantined(by) => {
                    let (path, by_peer) = (self.path.to_owned(), by == By::Peer);
                    return Poll::Ready(Err(ResolveError::Quarantined { path, by_peer }));
                }
                PeerState::Stopping => return Poll::Ready(Err(ResolveError::Stopping)),
                PeerState::Unknown(why) => {
                    // Names come and go: it is looked up again.
                    self.unknown = Some(why);
                    self.core.want_link(self.node);
                }
                PeerState::Down(last) => {
                    self.unknown = None;
                    if let Some(last) = last {
                        self.last = last;
                    }
                    self.core.want_link(self.node);
                }
            }
            if self.alarm.poll(context).is_ready() {
                return Poll::Ready(Err(self.timed_out()));
            }
            self.core.watch(self.node, context.waker());
            Poll::Pending
        })
        .await
    }

    /// A question failed: it may be asked again, whatever became of it, because it changes nothing;
    /// unless the time is up, or another would fare no better.
    pub(crate) fn asked_in_vain(&mut self, error: &AskError) -> Result<(), ResolveError> {
        if *error == AskError::Stopping {
            return Err(ResolveError::Stopping);
        }
        self.last = error.to_string();
        let link_ended = matches!(
            error,
            AskError::Unreachable { .. } | AskError::Quarantined { .. } | AskError::NotRunning
        );
        if !link_ended || self.alarm.remaining().is_zero() {
            return Err(self.timed_out());
        }
        Ok(())
    }

    fn timed_out(&self) -> ResolveError {
        if let Some(why) = &self.unknown
            && let Some(address) = self.core.address_of_peer(self.node)
        {
            return ResolveError::Host {
                host: address.host().to_owned(),
                error: io::Error::other(why.clone()),
            };
        }
        ResolveError::Timeout {
            path: self.path.to_owned(),
            after: self.patience,
            last: self.last.clone(),
        }
    }
}
