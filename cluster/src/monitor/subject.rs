//! One member that is watched.

use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use crate::detector::{FailureDetector, Judge};
use crate::membership::Status;
use crate::membership::reachability::{Reason, Record, Witness};

/// What is known of a member that is watched.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) node: NodeId,
    /// Whether it is watched for its place in the ring, and not only until it answers.
    pub(super) is_in_ring: bool,
    /// Whether it is of another data centre.
    pub(super) is_far: bool,
    /// How much longer it is waited for as long as it has never answered.
    pub(super) first_answer: Duration,
    /// It leaves: that it ends its connections is no evidence.
    is_leaving: bool,
    detector: Box<dyn FailureDetector>,
    /// When it was first asked, and since when its answers tell of a rhythm.
    asked_at: Option<Instant>,
    beats: u32,
    /// One answer between two heartbeats says all: a burst of late ones must not pass for a rhythm.
    has_answered: bool,
    last_heard: Option<Instant>,
    /// When anything came, or it was first asked.
    last_sign: Instant,
    round_trip: Option<Duration>,
    has_crashed: bool,
    /// A reason that stays.
    end: Option<Reason>,
    accused: Option<Reason>,
    pub(super) doubt: Option<Doubt>,
}

/// Others were asked about it.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) number: u32,
    pub(super) since: Instant,
    /// Those that have not answered.
    pub(super) asked: Vec<Uid>,
    pub(super) witnesses: Vec<Witness>,
}

/// What has changed about a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Accuse(Record),
    Clear,
}

impl Subject {
    pub(super) fn new(node: NodeId, judge: &Judge) -> Self {
        Self {
            node,
            is_in_ring: true,
            is_far: false,
            first_answer: Duration::ZERO,
            is_leaving: false,
            detector: judge.detector(),
            asked_at: None,
            beats: 0,
            has_answered: false,
            last_heard: None,
            last_sign: Instant::ZERO,
            round_trip: None,
            has_crashed: false,
            end: None,
            accused: None,
            doubt: None,
        }
    }

    /// It is of that status now.
    pub(super) fn handle_status(&mut self, status: Status) {
        self.is_leaving = matches!(status, Status::Leaving | Status::Exiting);
        self.has_crashed &= !self.is_leaving;
    }

    /// A heartbeat is due to it. Says whether it is to be sent.
    pub(super) fn beat(&mut self, now: Instant) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.has_answered = false;
        self.begin(now);
        self.beats = self.beats.saturating_add(1);
        true
    }

    /// It is watched from now on, and is not to wait for the next heartbeat. Says whether one is to
    /// be sent to it.
    pub(super) fn greet(&mut self, now: Instant) -> bool {
        let is_new = self.asked_at.is_none() && self.end.is_none();
        if is_new {
            self.begin(now);
        }
        is_new
    }

    /// As if it had answered: or one that never does would never be noticed.
    fn begin(&mut self, now: Instant) {
        if self.asked_at.is_none() {
            self.asked_at = Some(now);
            self.last_sign = now;
            self.detector.begin(now + self.first_answer);
        }
    }

    /// It answered a heartbeat, which was sent at that time, or later to this one.
    pub(super) fn handle_answer(&mut self, now: Instant, sent: Instant) {
        self.last_heard = Some(now);
        self.round_trip = Some(now - self.asked_at.map_or(sent, |asked| sent.max(asked)));
        self.has_crashed = false;
        if !self.has_answered {
            self.has_answered = true;
            if self.beats > 1 {
                self.detector.heard(now);
            } else {
                // How long it was until then says nothing of the time between two answers.
                self.detector.begin(now);
            }
        }
        self.doubt = None;
    }

    /// Anything at all came from it.
    pub(super) fn handle_heard(&mut self, now: Instant) {
        self.last_sign = now;
        self.has_crashed = false;
    }

    /// Whether nothing at all has come from it for so long, and something may come yet.
    pub(super) fn is_mute(&self, now: Instant, span: Duration) -> bool {
        let may_come = self.end.is_none() && !self.has_crashed;
        may_come && self.asked_at.is_some() && now - self.last_sign >= span
    }

    pub(super) fn handle_crashed(&mut self) {
        self.has_crashed = !self.is_leaving;
    }

    pub(super) fn handle_end(&mut self, reason: Reason) {
        self.end.get_or_insert(reason);
    }

    /// This node was away itself.
    pub(super) fn excuse(&mut self, gap: Duration) {
        self.detector.excuse(gap);
        self.last_sign = self.last_sign + gap;
        self.last_heard = self.last_heard.map(|last| last + gap);
        if let Some(doubt) = &mut self.doubt {
            doubt.since = doubt.since + gap;
        }
    }

    pub(super) fn suspicion(&self, now: Instant) -> f64 {
        self.detector.suspicion(now)
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.detector.is_available(now)
    }

    /// How long nothing came; `None` if nothing ever did.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        self.last_heard.map(|last| now - last)
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn is_accused(&self) -> bool {
        self.accused.is_some()
    }

    /// When there is something to find out about it if nothing comes before: that it is in doubt
    /// from `doubt` on, or gone. Of one in another data centre nobody is asked.
    pub(super) fn next_look(&self, doubt: f64, wait: Duration) -> Option<Instant> {
        if self.accused.is_some() || self.asked_at.is_none() {
            return None;
        }
        if self.has_crashed {
            return Some(Instant::ZERO);
        }
        let gone_at = self.detector.gone_at();
        if self.is_far {
            return gone_at;
        }
        match &self.doubt {
            None => gone_at
                .into_iter()
                .chain(self.detector.suspects_at(doubt))
                .min(),
            Some(doubt) if doubt.asked.is_empty() => gone_at,
            Some(doubt) => Some(gone_at?.max(doubt.since + wait)),
        }
    }

    /// What has changed about it since this was last asked. While this node `is_lenient` it accuses
    /// nobody.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        is_lenient: bool,
        wait: Duration,
    ) -> Option<Change> {
        let verdict = self.verdict(now, wait);
        let is_new = self.accused.is_none() && self.end.is_none();
        if verdict == self.accused || (is_lenient && is_new) {
            return None;
        }
        self.accused = verdict;
        let Some(reason) = verdict else {
            return Some(Change::Clear);
        };
        let mut witnesses = Vec::new();
        if let Some(doubt) = &self.doubt {
            witnesses.clone_from(&doubt.witnesses);
        }
        witnesses.sort_unstable();
        Some(Change::Accuse(Record { reason, witnesses }))
    }

    fn verdict(&self, now: Instant, wait: Duration) -> Option<Reason> {
        if self.end.is_some() {
            return self.end;
        }
        if self.has_crashed {
            return Some(Reason::Refused);
        }
        if self.is_available(now) {
            return None;
        }
        let is_waiting = |doubt: &Doubt| !doubt.asked.is_empty() && now < doubt.since + wait;
        if self.accused.is_none() && self.doubt.as_ref().is_some_and(is_waiting) {
            return None;
        }
        Some(Reason::Silence)
    }
}
