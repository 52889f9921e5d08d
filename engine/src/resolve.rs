//! From a path to a ref: dial the node, then ask its directory.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringmesh_proto::address::{ActorPath, CoreId};
use ringmesh_proto::quarantine::By;

use crate::actor::Protocol;
use crate::core::{Alarm, CONTROL_CORE, Core, PeerIndex, PeerState};
use crate::directory::{self, Finding, Resolve};
use crate::error::{AskError, ResolveError};
use crate::reference::Ref;

pub(crate) async fn resolve<P: Protocol>(
    core: &Rc<Core>,
    path: &str,
) -> Result<Ref<P>, ResolveError> {
    let wanted: ActorPath = path.parse()?;
    let node = core.peer(&wanted.address, CONTROL_CORE)?;
    let number = core.number_of(node);
    let mut search = Search {
        core,
        path,
        node,
        patience: core.settings().ask_timeout,
        alarm: core.alarm(core.settings().ask_timeout),
        last: "no link yet".to_owned(),
        unknown: None,
    };
    loop {
        // Found anew: the index may be another peer's after a wait.
        search.node = core.peer(&wanted.address, CONTROL_CORE)?;
        let uid = search.link_up().await?;
        let question = Resolve {
            name: wanted.name.clone(),
            protocol: directory::protocol_key::<P>(),
        };
        let ask = directory::of_node(uid, core.home(number))
            .ask(question)
            .timeout(search.alarm.remaining());
        let answer = match ask.await {
            Ok(answer) => answer,
            Err(AskError::Stopping) => return Err(ResolveError::Stopping),
            // The question changes nothing, so it may be asked again whatever became of it.
            Err(error) => {
                search.last = error.to_string();
                search.pause(&error).await?;
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
                    core.home(number),
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

struct Search<'a> {
    core: &'a Rc<Core>,
    path: &'a str,
    node: PeerIndex,
    patience: Duration,
    alarm: Alarm,
    last: String,
    /// Why the host name has no address.
    unknown: Option<String>,
}

impl Search<'_> {
    /// Waits for a link to the node and says which process start it reached.
    async fn link_up(&mut self) -> Result<ringmesh_proto::address::Uid, ResolveError> {
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

    /// After a failed question: waits for the link to change, unless the time is up.
    async fn pause(&mut self, error: &AskError) -> Result<(), ResolveError> {
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
