//! The side that has actors made elsewhere.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::archive::{encode, measure};
use ringmesh_proto::message::Message;

use super::factory::{self, Factory, Kit};
use super::finish::Tie;
use super::guardian::{GuardianApi, Order, StandIn, TieApi, escalates, raise};
use super::serve::path;
use super::words::{Made, Place, Spawn, SpawnVerdict, Spawned};
use super::{Deploy, SpawnAtError, Spawnable};
use crate::actor::{ActorTable, Protocol};
use crate::core::{ActorPlace, Core, Home, NodeIndex};
use crate::directory;
use crate::error::{AskError, ResolveError, SpawnError};
use crate::reference::{Recipient, Ref};
use crate::resolve::Search;

/// Spawns an actor where the settings, or else its `deploy`, say.
pub(crate) async fn spawn_at<W: Spawnable>(
    core: Rc<Core>,
    parent: Option<Recipient>,
    deploy: Deploy<W>,
) -> Result<Ref<W::Api>, SpawnAtError> {
    let Deploy {
        args,
        name,
        supervision,
        placement,
        within,
    } = deploy;
    let kit = Kit {
        args: archived::<W>(&core, &args)?,
        older: None,
        name,
        supervision,
    };
    let site = core.site_of(parent, kit.name.as_deref(), &placement);
    let node = site.node.filter(|node| *node != core.identity().address);
    let within = within.unwrap_or_else(|| core.settings().ask_timeout);
    let (posting, (uid, home, made)) = if let Some(node) = node {
        let posting = Posting::begin(&core, parent, &kit)?;
        let asked = posting.ask::<W>(node, site.core, kit, within).await?;
        (posting, asked)
    } else {
        let wanted = core.core_for(site.core)?;
        if wanted == core.id() {
            let made = factory::make::<W>(&core, parent, kit);
            return made.map_err(|unmade| unmade.into_error(W::KEY));
        }
        let posting = Posting::begin(&core, parent, &kit)?;
        let raised = posting.raise::<W>(wanted, kit, within).await?;
        (posting, raised)
    };
    posting.tie(uid, home, &made)?;
    Ok(actor_at(uid, home, made.child))
}

/// The archive of the arguments, within a frame.
fn archived<W: Spawnable>(core: &Core, args: &W::Args) -> Result<Box<[u8]>, SpawnAtError> {
    let not_encoded = |_| SpawnAtError::Encode { key: W::KEY };
    let bytes = measure(args).map_err(not_encoded)?;
    let limit = core.settings().frame_bytes_max as usize;
    if bytes > limit {
        return Err(SpawnAtError::TooLarge { bytes, limit });
    }
    let mut archive = vec![0; bytes].into_boxed_slice();
    encode(args, &mut archive).map_err(not_encoded)?;
    Ok(archive)
}

fn actor_at<P: Protocol>(uid: Uid, home: Home, place: Place) -> Ref<P> {
    let core = ActorTable::core_of(place.generation);
    Ref::new(uid, home, core, place.slot, place.generation)
}

/// An actor on its way elsewhere, and who stands for it here. Dropped before it is tied to that, it
/// takes the stand-in with it: what was made, or will be, is told so and ends.
struct Posting<'a> {
    core: &'a Rc<Core>,
    stand_in: Ref<TieApi>,
    tie: Rc<Tie>,
    escalates: bool,
    is_tied: bool,
}

impl<'a> Posting<'a> {
    fn begin(
        core: &'a Rc<Core>,
        parent: Option<Recipient>,
        kit: &Kit,
    ) -> Result<Self, SpawnAtError> {
        let tie = Rc::<Tie>::default();
        let stand_in = StandIn {
            tie: Rc::clone(&tie),
        };
        let stand_in = core.bear(parent, kit.name.as_deref(), stand_in, |_| None)?;
        Ok(Self {
            core,
            stand_in,
            tie,
            escalates: escalates(kit.supervision),
            is_tied: false,
        })
    }

    /// Has the actor made on another core of this node.
    async fn raise<W: Spawnable>(
        &self,
        on: CoreId,
        kit: Kit,
        within: Duration,
    ) -> Result<(Uid, Home, Made), SpawnAtError> {
        let stand_in = self.stand_in.recipient;
        let order = Order {
            factory: Factory::of::<W>(),
            kit,
            stand_in,
            path: path(&self.core.identity().address, stand_in),
            seat: None,
        };
        let mut alarm = self.core.alarm(within);
        let raised = self.core.run_on(on, move |there| Ok(raise(there, order)));
        let mut raised = pin!(raised);
        let raised = poll_fn(|context| {
            if let Poll::Ready(raised) = raised.as_mut().poll(context) {
                return Poll::Ready(Ok(raised));
            }
            let late = SpawnAtError::TimedOut { after: within };
            alarm.poll(context).map(|()| Err(late))
        });
        let made = raised.await??.map_err(|unmade| unmade.into_error(W::KEY))?;
        let home = self.core.home(NodeIndex::SELF);
        Ok((stand_in.uid, home, made))
    }

    /// Has it made on another node.
    async fn ask<W: Spawnable>(
        &self,
        node: Address,
        on: Option<CoreId>,
        kit: Kit,
        within: Duration,
    ) -> Result<(Uid, Home, Made), SpawnAtError> {
        let unreachable = |error| unreachable(&node, error);
        let text = node.to_string();
        let mut search = Search::new(self.core, &text, &node, within).map_err(unreachable)?;
        let home = search.home;
        let uid = search.link_up().await.map_err(unreachable)?;
        let args = <W::Args as Message>::TYPE;
        let stand_in = self.stand_in.recipient;
        let spawn = Spawn {
            key: W::KEY.to_owned(),
            args_id: args.id.as_u64(),
            args_version: args.version,
            args_fingerprint: args.fingerprint,
            args: kit.args.into(),
            name: kit.name,
            core: on.map(|core| core.0),
            strategy: kit.supervision.into(),
            stand_in: ActorPlace {
                slot: stand_in.slot,
                generation: stand_in.generation,
            }
            .into(),
        };
        // Asked once: whether it was heard is not always known, and none is to be made twice.
        let ask = directory::of_node(uid, home).ask(spawn);
        let answer = ask.timeout(search.remaining()).await;
        let answer = answer.map_err(|error| refused(&node, error, within))?;
        let made = made_of::<W>(&node, on, answer.deserialize())?;
        if self.escalates && made.token.is_none() {
            return Err(no_room(
                "the node says that it was made, and not how it is tied",
            ));
        }
        Ok((uid, home, made))
    }

    /// The actor runs: from now on it and its stand-in end with each other.
    fn tie(mut self, uid: Uid, home: Home, made: &Made) -> Result<(), SpawnAtError> {
        let guardian: Ref<GuardianApi> = actor_at(uid, home, made.guardian);
        self.tie.guardian.set(Some(guardian));
        self.tie.alarms.set(self.escalates);
        self.core.is_tied(self.stand_in.recipient, &self.tie);
        let token = made.token.map(|token| {
            let token: Ref<TieApi> = actor_at(uid, home, token);
            token.recipient
        });
        // The token first: where both are gone already, with their node, its word comes first, and
        // that is no escalation.
        for tie in [token, Some(guardian.recipient)].into_iter().flatten() {
            let watched = self.core.watch_actor(self.stand_in.recipient, tie, None);
            watched.map_err(SpawnAtError::of_watch)?;
        }
        self.is_tied = true;
        Ok(())
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        if !self.is_tied {
            self.core.stop_actor(&self.stand_in);
        }
    }
}

/// What was made, or why nothing was.
fn made_of<W: Spawnable>(
    node: &Address,
    on: Option<CoreId>,
    answer: Spawned,
) -> Result<Made, SpawnAtError> {
    let (node, key) = (node.clone(), W::KEY);
    Err(match answer.verdict {
        SpawnVerdict::Made => match answer.made {
            Some(made) => return Ok(made),
            None => no_room("the node says that it was made, and not where"),
        },
        SpawnVerdict::UnknownFactory => SpawnAtError::UnknownFactory { node, key },
        SpawnVerdict::NotAllowed => SpawnAtError::NotAllowed { node, key },
        SpawnVerdict::OtherArguments => SpawnAtError::OtherArguments { key },
        SpawnVerdict::ArgumentsTooOld => SpawnAtError::ArgumentsTooOld { node, key },
        SpawnVerdict::ArgumentsTooNew => SpawnAtError::ArgumentsTooNew { node, key },
        SpawnVerdict::InvalidArguments => SpawnAtError::InvalidArguments { key },
        SpawnVerdict::NotStarted => SpawnAtError::Start(answer.reason),
        SpawnVerdict::NoRoom => no_room(answer.reason),
        SpawnVerdict::NoSuchCore => match on {
            Some(core) => SpawnAtError::NoSuchCore { node, core },
            None => no_room("the node says that it has no such core, and was not told which"),
        },
        SpawnVerdict::CoreReserved => match on {
            Some(core) => SpawnAtError::CoreReserved { node, core },
            None => no_room("the node says that its core is reserved, and was not told which"),
        },
    })
}

fn no_room(reason: impl Into<String>) -> SpawnAtError {
    let reason = reason.into();
    SpawnAtError::NoRoom { reason }
}

/// There is no link with the node.
fn unreachable(node: &Address, error: ResolveError) -> SpawnAtError {
    let node = node.clone();
    let reason = match error {
        ResolveError::Quarantined { by_peer, .. } => {
            return SpawnAtError::Quarantined { node, by_peer };
        }
        ResolveError::Stopping => return SpawnError::Stopping.into(),
        error @ ResolveError::TooManyPeers { .. } => return no_room(error.to_string()),
        ResolveError::Timeout { last, .. } => last,
        ResolveError::Refused { reason, .. } => reason,
        error => error.to_string(),
    };
    SpawnAtError::Unreachable { node, reason }
}

/// The node did not answer the question.
fn refused(node: &Address, error: AskError, within: Duration) -> SpawnAtError {
    let node = node.clone();
    match error {
        AskError::UnknownMessage | AskError::SchemaMismatch | AskError::ReplyMismatch => {
            SpawnAtError::TooOld { node }
        }
        AskError::Timeout { .. } => SpawnAtError::TimedOut { after: within },
        AskError::Quarantined { by_peer } => SpawnAtError::Quarantined { node, by_peer },
        AskError::Unreachable { .. } | AskError::NotRunning | AskError::Stopping => {
            let reason = error.to_string();
            SpawnAtError::Unreachable { node, reason }
        }
        AskError::TooLarge { bytes, limit } => SpawnAtError::TooLarge { bytes, limit },
        error => no_room(error.to_string()),
    }
}
