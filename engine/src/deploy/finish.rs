//! Actors elsewhere that finish what they do, because one above them is stopped with a deadline.
//!
//! The stand-in of such an actor stays until that has ended. It asks the guardian, which has its
//! child stopped within the same time and answers how that went, before it ends itself. Whatever is
//! lost of this, the deadline of whoever is stopped ends the stand-in, and so the actor.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::guardian::GuardianApi;
use super::words::Finish;
use crate::core::{ActorPlace, Core};
use crate::error::AskError;
use crate::reference::Ref;

/// What ties a stand-in to the actor elsewhere, once that runs.
#[derive(Debug, Default)]
pub(crate) struct Tie {
    pub(super) guardian: Cell<Option<Ref<GuardianApi>>>,
    /// The end of the guardian is a failure of the parent.
    pub(super) alarms: Cell<bool>,
    stage: Cell<Stage>,
}

/// How far the actor elsewhere is on its way to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Lives,
    /// It was asked to finish, and nothing was heard.
    Asked,
    /// Word of its end came, and how it went is not known yet.
    Ended,
    /// How it went is known.
    Said,
}

impl Tie {
    /// Word of the end has come. Says whether the answer to the question is still to come: then the
    /// stand-in ends with that.
    pub(super) fn waits_for_answer(&self) -> bool {
        let is_asked = matches!(self.stage.get(), Stage::Asked | Stage::Ended);
        if is_asked {
            self.stage.set(Stage::Ended);
        }
        is_asked
    }
}

/// Has the actor that one of this core stands for finish what it does. Says whether its end is to
/// be waited for.
pub(crate) fn finish(
    core: &Rc<Core>,
    stand_in: ActorPlace,
    tie: &Rc<Tie>,
    within: Duration,
) -> bool {
    let Some(guardian) = tie.guardian.get() else {
        return false;
    };
    if tie.stage.get() != Stage::Lives {
        return true;
    }
    tie.stage.set(Stage::Asked);
    let (at_work, its) = (Rc::clone(core), Rc::clone(tie));
    let asking = core.spawn_task(async move {
        let within_us = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        let said = guardian.ask(Finish { within_us }).timeout(within).await;
        let has_ended = its.stage.replace(Stage::Said) == Stage::Ended;
        if !said.as_ref().is_ok_and(|finished| finished.in_order) {
            at_work.cut_short(stand_in);
        }
        // Of a guardian that is gone there is word, which says what it ended of.
        let is_word_to_come = matches!(said, Ok(_) | Err(AskError::Failed | AskError::NotRunning));
        if has_ended || !is_word_to_come {
            at_work.end_stand_in(stand_in);
        }
    });
    if asking.is_err() {
        core.cut_short(stand_in);
    }
    asking.is_ok()
}
