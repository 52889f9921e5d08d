//! Why the resolver decided what it decided, or what it waits for: all that went in.

use std::fmt;
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};

use super::message::Answer;
use super::split::{Party, Side, Split};
use super::strategy::Verdict;
use crate::lease::{LeaseName, Token};
use crate::membership::Status;
use crate::membership::reachability::Reason;

/// What was decided, and all that went into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The name of the strategy.
    pub strategy: &'static str,
    /// What becomes of this side.
    pub verdict: Verdict,
    /// Who goes down.
    pub down: Vec<NodeId>,
    /// What led to it.
    pub why: Why,
    /// The token of the lease by which others were given up, if it was by one: larger than that of
    /// any decision before it in this data centre.
    pub token: Option<Token>,
    /// What it was decided from.
    pub explanation: Explanation,
}

/// What led to a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The strategy, and the votes it needs.
    Voted,
    /// The strategy alone: it is not voted.
    Unvoted,
    /// The lease that the strategy needs: this side has it.
    Leased,
    /// Another side has that lease, or may have had it, or it was not to be had in time.
    Denied,
    /// The strategy would have this side go down.
    Outvoted,
    /// Those that some members agreed to have gone down are too many for the others to stay.
    TooManyNamed,
    /// Whoever acts for this side found that too many are to go for the others to stay.
    Surrendered,
    /// Things kept changing for too long.
    Unstable,
    /// A member said that this one was removed, or is in quarantine.
    Expelled,
}

impl Why {
    /// The word for it in events and texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Voted => "voted",
            Self::Unvoted => "unvoted",
            Self::Leased => "leased",
            Self::Denied => "denied",
            Self::Outvoted => "outvoted",
            Self::TooManyNamed => "too_many_named",
            Self::Surrendered => "surrendered",
            Self::Unstable => "unstable",
            Self::Expelled => "expelled",
        }
    }
}

/// What the resolver sees, and what it would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The name of the strategy.
    pub strategy: &'static str,
    /// The member that explains.
    pub own: Uid,
    /// What would become of this side if all agreed that stay; `None` while nobody is lost.
    pub verdict: Option<Verdict>,
    /// Who would act for this side.
    pub speaker: Option<NodeId>,
    /// The members of this data centre, in order of their addresses.
    pub members: Vec<Standing>,
    /// How long nothing may change before it decides.
    pub stable_after: Duration,
    /// How long nothing has changed.
    pub stable_for: Duration,
    /// Whether every host of a lost member refuses connections, so that it decides sooner.
    pub is_fast: bool,
    /// When it decides if nothing changes, from now; `None` while nobody is lost, or when it
    /// decided.
    pub due_in: Option<Duration>,
    /// The votes, while there is a vote.
    pub votes: Option<Votes>,
    /// The lease, if the strategy needs one.
    pub lease: Option<LeaseStanding>,
}

/// How it stands with the lease that a strategy needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseStanding {
    /// Which lease.
    pub name: LeaseName,
    /// The last token that is known here. Only by the next one some can go on without others.
    pub known: Option<Token>,
    /// The token by which this member holds the lease.
    pub held: Option<Token>,
    /// The last token of the store, if it gave a larger one before: no side can go on then.
    pub fallen: Option<Token>,
    /// Whether this member has the lease, or asks for it.
    pub is_wanted: bool,
    /// Why it was not given the lease when it asked last, for people.
    pub heard: Option<Box<str>>,
}

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The member.
    pub node: NodeId,
    /// Where it is in its life.
    pub status: Status,
    /// Whether it counts.
    pub is_counted: bool,
    /// Where it stands.
    pub side: Side,
    /// Who cannot reach it, why, and who else was heard to hear it.
    pub accusers: Vec<Accuser>,
}

/// Who cannot reach a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accuser {
    /// The observer.
    pub observer: Uid,
    /// Why.
    pub reason: Reason,
    /// Others that said they hear the member.
    pub hear_it: Vec<Uid>,
    /// Others that said they do not.
    pub miss_it: Vec<Uid>,
}

/// The votes of this member's proposal so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Votes {
    /// Its number.
    pub number: u32,
    /// Who is to go down, members and such that were.
    pub down: Vec<Uid>,
    /// Who was asked, and what the last answer was.
    pub answers: Vec<(Uid, Option<Answer>)>,
    /// Rounds so far.
    pub rounds: u32,
}

impl Standing {
    pub(super) fn all(split: &Split) -> Vec<Self> {
        split.parties().iter().map(Self::of).collect()
    }

    fn of(party: &Party) -> Self {
        let accusers = party.accusers.iter().map(|(observer, record)| {
            let said = |hears| {
                let witnesses = record.witnesses.iter();
                let witnesses = witnesses.filter(move |it| it.hears == hears);
                witnesses.map(|it| it.observer).collect()
            };
            Accuser {
                observer: *observer,
                reason: record.reason,
                hear_it: said(true),
                miss_it: said(false),
            }
        });
        Self {
            node: party.member.node().clone(),
            status: party.member.status(),
            is_counted: party.is_counted(),
            side: party.side,
            accusers: accusers.collect(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stay => f.write_str("this side stays"),
            Self::Leave(why) => write!(f, "this side goes down: {why}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (strategy, verdict, why) = (self.strategy, self.verdict, self.why.label());
        write!(f, "{strategy}: {verdict} ({why}); down:")?;
        self.down.iter().try_for_each(|node| write!(f, " {node}"))?;
        if let Some(token) = self.token {
            write!(f, "; token {token}")?;
        }
        write!(f, "\n{}", self.explanation)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {} sees it: ", self.strategy, self.own)?;
        match self.verdict {
            Some(verdict) => write!(f, "{verdict}")?,
            None => f.write_str("nobody is lost")?,
        }
        if let Some(speaker) = &self.speaker {
            write!(f, "; {speaker} acts for this side")?;
        }
        for standing in &self.members {
            write!(f, "\n{standing}")?;
        }
        let (after, so_far) = (self.stable_after, self.stable_for);
        write!(f, "\nunchanged for {so_far:.1?} of {after:.1?}")?;
        if self.is_fast {
            f.write_str(", and all that are lost refuse or resigned")?;
        }
        if let Some(due) = self.due_in {
            write!(f, "; due in {due:.1?}")?;
        }
        if let Some(votes) = &self.votes {
            write!(f, "\n{votes}")?;
        }
        if let Some(lease) = &self.lease {
            write!(f, "\n{lease}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LeaseStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {}: ", self.name)?;
        match self.known {
            Some(token) => write!(f, "the last token known is {token}")?,
            None => f.write_str("no token is known, so no side can go on")?,
        }
        match self.held {
            Some(token) => write!(f, "; held with {token}")?,
            None if self.is_wanted => f.write_str("; asked for")?,
            None => {}
        }
        if let Some(last) = self.fallen {
            write!(f, "; its store fell back to {last}, so no side can go on")?;
        }
        if let Some(heard) = &self.heard {
            write!(f, "; not given: {heard}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} {}, {}", self.node, self.status, self.side.label())?;
        if !self.is_counted {
            f.write_str(", not counted")?;
        }
        for accuser in &self.accusers {
            write!(f, "; {} for {}", accuser.reason.label(), accuser.observer)?;
            for hears in &accuser.hear_it {
                write!(f, ", though {hears} hears it")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, rounds) = (self.number, self.rounds);
        write!(f, "proposal {number}, round {rounds}:")?;
        for (uid, answer) in &self.answers {
            let answer = answer.map_or("has not answered", Answer::label);
            write!(f, " {uid} {answer};")?;
        }
        Ok(())
    }
}
