//! What a core counts, and how other threads read it while it counts on.
//!
//! [`counters!`] holds the one list of the counters: each has a cell in the page of its core, and
//! the sums are worked out of those when somebody reads.

use std::iter::Sum;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};

use ringmesh_transport::contract;

/// One count, written by one core and read by anybody.
///
/// An atomic so that other threads may read it, and no more: with a single writer nothing is lost
/// between its load and its store, so counting needs no read-modify-write. The stores are releases
/// and the loads of readers acquires, which costs nothing on x86-64: whoever sees a count sees
/// everything that its core counted before. [`Tally::read`] builds on that.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Counts. On the thread of the core that owns the count.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.set(self.0.load(Ordering::Relaxed) + more);
    }

    /// Takes back. On the thread of the core that owns the count.
    #[inline]
    pub(crate) fn take(&self, less: u64) {
        self.set(self.0.load(Ordering::Relaxed) - less);
    }

    /// Takes over what somebody else counts. On the thread of the core that owns the count.
    #[inline]
    pub(crate) fn set(&self, total: u64) {
        self.0.store(total, Ordering::Release);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Makes [`Counters`] and [`Tally`] of one list.
macro_rules! counters {
    (
        $(#[$of_counters:meta])*
        sums { $( $(#[$of_sum:meta])* $sum:ident = $work_out:expr, )+ }
        held { $( $(#[$of_held:meta])* $held:ident, )+ }
    ) => {
        $(#[$of_counters])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $( $(#[$of_sum])* pub $sum: u64, )+
            $( $(#[$of_held])* pub $held: u64, )+
        }

        impl Counters {
            /// Each counter with its name, which is that of the field.
            pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, u64)> + use<> {
                [
                    $( (stringify!($sum), self.$sum), )+
                    $( (stringify!($held), self.$held), )+
                ]
                .into_iter()
            }
        }

        /// Those of several cores together: the gauges too are sums.
        impl Add for Counters {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self {
                    $( $sum: self.$sum + other.$sum, )+
                    $( $held: self.$held + other.$held, )+
                }
            }
        }

        /// The counts of one core, in its page. See [`Counters`] for each.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $( pub(crate) $held: Count, )+
        }

        impl Tally {
            /// What was counted so far, by this core or, while it runs, another thread.
            ///
            /// Loads in the order of the list. There each part of a sum stands before the whole,
            /// and what a message leaves (`waiting`) behind what it goes over to, while the core
            /// counts the whole first. So a message that moves meanwhile is missed at worst, and
            /// never counted twice.
            pub(crate) fn read(&self) -> Counters {
                let mut read = Counters {
                    $( $held: self.$held.total(), )+
                    ..Counters::default()
                };
                $( read.$sum = work_out(&read, $work_out); )+
                read
            }
        }
    };
}

fn work_out(held: &Counters, sum: impl FnOnce(&Counters) -> u64) -> u64 {
    sum(held)
}

counters! {
    /// Counts of one core since it started, or of several together. Read with
    /// [`Node::counters`](crate::Node::counters) on the core itself, and with a
    /// [`MetricsReader`](crate::MetricsReader) from anywhere.
    ///
    /// The accounts of a core always close:
    /// - outgoing: `sent` = `acknowledged` + `dead_sent` + in flight (`in_flight`);
    /// - incoming: `received` = `delivered` + `dead_received` + `waiting` + `hopped`;
    /// - [local messages](crate::LocalMessage), which are no part of these: `local_received` =
    ///   `local_delivered` + `local_dead` + `local_waiting`;
    /// - messages of either kind that an actor [laid aside](crate::Cx::stash), which were delivered
    ///   before: `stashed` = `unstashed` + `dead_stashed` + `stash_waiting`.
    ///
    /// Over all cores of a node `local_sent`
    ///   = `local_received` + those between two cores, or whose turn has not come.
    ///
    /// A message that arrives on another core than its recipient's, because two nodes share links,
    /// is received, hopped and sent anew by that core, and received again and delivered by the
    /// recipient's; so is its answer on the way back.
    ///
    /// A message counts as received when its turn comes, and its grant follows. When a peer ends a
    /// connection, what came on it before is received first. When this node ends one, and the link
    /// with it, messages that still wait are not received but counted in `dropped_unread`: they are
    /// in flight for their sender, who gives them up as `dead_maybe`. What was on its way when a
    /// link lost its connection stays in flight, until the link goes on or is given up.
    ///
    /// Read from another thread while the core runs, the counters are not of one instant: a
    /// message that is being handled is in the whole and in none of its parts. The inequalities
    /// hold all the same: `sent` >= `acknowledged` + `dead_sent`, and `received` >= `delivered` +
    /// `dead_received` + `waiting` + `hopped`. The counts but the gauges (`in_flight`, `waiting`,
    /// `local_waiting`, `stash_waiting`, `links`, `actors`, `watches`, `watches_far`, `tasks`) only
    /// grow. Those from `enters` on are as of the end of the core's last turn that did something,
    /// or of its last sleep; the others are never old.
    sums {
        /// Part of `sent`: given up when their link ended. `dead_unsent` and `dead_maybe` together.
        dead_sent = |held| held.dead_unsent + held.dead_maybe,
        /// Part of `sent`: neither acknowledged nor given up.
        in_flight = |held| held.sent - held.acknowledged - held.dead_sent,
        /// Part of `received`: could not be delivered. The fields `dead_` with a reason say why.
        dead_received = |held| {
            held.dead_no_recipient
                + held.dead_unknown_message
                + held.dead_schema_mismatch
                + held.dead_expired
                + held.dead_invalid
                + held.dead_late_answer
                + held.dead_not_upgraded
                + held.dead_not_for_clients
        },
    }
    held {
        // The parts of a sum before the whole; see `Tally::read`.
        /// Part of `sent`: the receiving side has taken them over.
        acknowledged,
        /// Part of `dead_sent`: never left this node.
        dead_unsent,
        /// Part of `dead_sent`: left this node, and may or may not have been handled.
        dead_maybe,
        /// Answers that found their queue full: the asker got an error in their place.
        replies_overloaded,
        /// Messages (tells, asks and answers) accepted for sending.
        sent,
        /// Part of `dead_received`: the recipient does not run, or not any more.
        dead_no_recipient,
        /// Part of `dead_received`: the recipient's protocol has no such message.
        dead_unknown_message,
        /// Part of `dead_received`: the message is known in another version or with other fields.
        dead_schema_mismatch,
        /// Part of `dead_received`: a question whose deadline had passed when its turn came out of
        /// a mailbox. Its asker is told that it was not executed.
        dead_expired,
        /// Part of `dead_received`: the bytes are not a valid archive of the message or answer.
        dead_invalid,
        /// Part of `dead_received`: an answer to a question no longer asked.
        dead_late_answer,
        /// Part of `dead_received`: came in an older version, and making the current one of it
        /// panicked or made it too long.
        dead_not_upgraded,
        /// Part of `dead_received`: came from a client, for an actor that is not registered for
        /// those, if there is any.
        dead_not_for_clients,
        /// Part of `received`: reached a handler, or the asker they answer.
        delivered,
        /// Part of `received`: passed on, to another core of this node, where their recipient
        /// lives, or from there back to the node that asked.
        hopped,
        /// Part of `received`: wait at the moment, in the mailboxes of actors, or for room on their
        /// way to another core.
        waiting,
        /// Messages that arrived whole and undamaged.
        received,
        /// Part of `local_received`: the recipient does not run, or not any more, or its protocol
        /// has no such message.
        local_dead,
        /// Part of `local_received`: reached a handler.
        local_delivered,
        /// Part of `local_received`: wait in the mailboxes of actors at the moment.
        local_waiting,
        /// Local messages whose turn came on this core, or that were dropped here on their way.
        local_received,
        /// Local messages accepted for sending.
        local_sent,
        /// Part of `stashed`: handled again.
        unstashed,
        /// Part of `stashed`: their actor ended, or they are questions whose deadline had passed
        /// when they came back.
        dead_stashed,
        /// Part of `stashed`: laid aside at the moment, or on their way back to their actor.
        stash_waiting,
        /// Messages that actors laid aside, each time.
        stashed,
        /// Came in an older version and were upgraded: messages, answers, and what actors are made
        /// of for other nodes.
        upgraded,
        /// Messages that had arrived whole behind what ended their link, their core or, with its
        /// goodbye, their node, and were dropped; no part of `received`. Where the link goes on
        /// they come again.
        dropped_unread,
        /// Part of `asks_abandoned`: cancelled at the peer; for the others there was no credit.
        cancels_sent,
        /// Cancels of peers that went on to where their question was passed on to; no part of
        /// `cancels_sent`.
        cancels_passed_on,
        /// Questions that were dropped, or timed out, with their answer still owed.
        asks_abandoned,
        /// Answers that waited for credit and were dropped because their asker cancelled: it got an
        /// error in their place.
        replies_withdrawn,
        /// Answers for which there was no link any more: their askers were told when it ended. No
        /// part of `sent`.
        replies_dropped,
        /// Messages of [`tell_lossy`](crate::Ref::tell_lossy) that were dropped because they could
        /// not be sent at once; no part of `sent`.
        dropped_lossy,
        /// Periods of [`Cx::every`](crate::Cx::every) that passed without a message of their own:
        /// the actor had no room, or the core was late.
        ticks_merged,
        /// Timers of actors that ended because their message can never be sent: it is too large, or
        /// the node stops.
        ticks_lost,
        /// Results of piped futures that their actors were not told, because no room came in time
        /// or they cannot be sent; see [`Cx::pipe`](crate::Cx::pipe).
        pipes_lost,
        /// Handlers, tasks, wakers and drops that panicked.
        panics,
        /// Actors that failed: their handlers panicked, or what made them anew did not succeed, or
        /// a child's failure was theirs. What becomes of them their
        /// [`Supervision`](crate::Supervision) says.
        failures,
        /// Actors that began anew after they failed.
        restarts,
        /// Actors that were made at this node for others, by the core that was asked to; see
        /// [`Node::spawn_at`](crate::Node::spawn_at).
        spawned_for_others,
        /// Questions of other nodes for an actor that were refused.
        spawns_refused,
        /// Actors of this core that ended because their parent at another node, or on another core,
        /// did, or that node was lost.
        orphans,
        /// Batches of messages that held their core longer than `slow_handler`: mostly one handler
        /// in each, or another program on the same CPU.
        slow_handlers,
        /// Turns that took a second or more, counted when they ended: something held the core, or
        /// its CPU; see [`NodeEvent::CoreStalled`](crate::NodeEvent::CoreStalled).
        core_stalls,
        /// Frames copied because they straddled two receive buffers.
        frames_copied_straddled,
        /// Frames copied because too many receive buffers were pinned; of those that were to be
        /// passed on, the ones that found room.
        frames_copied_pinned,
        /// Frames copied for any other reason: their message waits for its actor.
        frames_copied_other,
        /// Messages and answers of more than 4 KiB that were passed on from the receive buffer they
        /// came in, without a copy; part of `sent`.
        forwarded_by_reference,
        /// Connections closed for a fault of the peer; see the log for each reason.
        closed_for_fault,
        /// Turns of the core's loop.
        turns,
        /// Links with a connection at the moment.
        links,
        /// How often a link went on over another connection, after a loss or a rest.
        resumed,
        /// How often an idle link gave its connection up.
        links_rested,
        /// `io_uring_enter` calls of the core's own ring.
        enters,
        /// How often the core slept.
        parks,
        /// Send operations given to the kernel.
        sends,
        /// Receive completions.
        receives,
        /// Bytes given to the kernel.
        bytes_sent,
        /// Bytes received.
        bytes_received,
        /// Send operations and receive completions of paced connections: those of the large lane
        /// and of control, which have one of each in a turn at most.
        paced,
        /// Bytes that those moved, 64 KiB each at most.
        paced_bytes,
        /// Connections accepted.
        accepted,
        /// Connections dialled.
        dialled,
        /// Actors alive at the moment, but for the three that each core has for pub-sub.
        actors,
        /// Entries of [watches](crate::Cx::watch) at the moment: those of the actors here that
        /// watch, and those of the actors here that are watched, by one actor each.
        watches,
        /// Entries of the control core at the moment: watches of actors of other nodes, and those
        /// of actors here by others, one each.
        watches_far,
        /// Process starts that this core was asked to quarantine, and did.
        quarantines,
        /// Quarantines, by this node or of it, that made room for later ones: whoever was in them
        /// is let in again.
        quarantines_forgotten,
        /// How often this core was first to hear that a node has quarantined this one.
        quarantines_told,
        /// Frames that the members of the cluster were sent.
        cluster_frames,
        /// The bytes of those.
        cluster_bytes,
        /// What was for members and was not sent: a queue was full, or whoever it was for is gone.
        /// Without those in whose place a later one of their kind went.
        cluster_dropped,
        /// What came of clusters while this node takes part in none.
        cluster_ignored,
        /// Dials of members of which nothing came for a while, beside their links.
        cluster_probes,
        /// How often the cluster state could not be written down.
        cluster_state_failures,
        /// What members told each other of their services and subscriptions, and was for another
        /// process start at this address. This and the next five are of the whole node, on its
        /// control core; a message that is lost here costs time, as it is asked for again.
        registry_misdirected,
        /// The same of nodes that were no members, and did not become any in time.
        registry_strangers,
        /// Versions named of what this node announces that it never had.
        registry_ahead,
        /// What others announce and this node has no room for: nobody here finds it.
        registry_over,
        /// What a member passed on and may not, or to where it is not on its way.
        registry_astray,
        /// What was for other data centres and was not sent: of those by whom it would go, none can
        /// be reached.
        registry_wayless,
        /// What the lease store was to be asked.
        lease_asks,
        /// Those of them that it was not asked, or whose answer was not waited for: a newer one for
        /// the same lease came first, or the node ended.
        lease_asks_dropped,
        /// Asks that failed: it is not known what came of them.
        lease_failures,
        /// Messages that this core published.
        published,
        /// Frames that other nodes were sent for those, or for a group that had emptied here.
        published_frames,
        /// What was published, here or elsewhere, and on this core was for nobody.
        published_to_nobody,
        /// What of a publish did not leave for a node or another core: there was no room.
        publishes_lost,
        /// Frames of other nodes that are none, or ask that somebody else be answered; and messages
        /// that are not of the type they are said to be, once on each core with subscribers.
        published_malformed,
        /// Subscriptions that what this core published did not reach, although they are known:
        /// their nodes cannot be reached.
        published_unreached,
        /// Subscriptions on this core that did not get what came for their topic, because they are
        /// to another message type.
        published_other_type,
        /// Groups of which no member was left when something came for one, here or elsewhere.
        published_groups_empty,
        /// The same while there were members elsewhere: one of those got it.
        published_groups_passed_on,
        /// Members of groups that what this core published did not count, because its topic has
        /// more groups than a publish reaches: 64.
        published_over_groups,
        /// Of the whole node, on its control core: what other nodes announced to subscribe to that
        /// is no topic and no pattern, or is beyond what a cluster may have of patterns.
        announcements_skipped,
        /// Subscriptions that did not begin on this core because there is no room for more.
        subscriptions_refused,
        /// Answers to publishers elsewhere, of [`publish_acknowledged`], that found no room: the
        /// node counts as one that did not answer.
        ///
        /// [`publish_acknowledged`]: crate::pubsub::Publisher::publish_acknowledged
        publish_answers_lost,
        /// Answers that came when nobody waited for them any more.
        publish_answers_late,
        /// What was sent to a path under which nobody is who can be reached.
        sent_to_nobody,
        /// What actors under a path did not get of what was sent to all: there was no room.
        sends_lost,
        /// What the queues of subscribers took, and what actors that subscribe were told.
        subscribers_queued,
        /// Part of those: it took the place of one with the same key that waited.
        subscribers_replaced,
        /// What they lost, as their policy says or since they ended while they were waited for; and
        /// what the mailboxes of actors that subscribe had no room for.
        subscribers_dropped,
        /// Heartbeats sent to nodes whose actors are watched from here.
        heartbeats,
        /// Selections that the directory was asked for.
        selections,
        /// Actors that it named in answer to them.
        selected,
        /// No part of `selections`: those of clients, which are refused.
        selections_refused,
        /// Names that clients asked the directory for, and that are not registered for those,
        /// whether or not there is such an actor.
        names_withheld,
        /// Tasks that run at the moment, the main future among them.
        tasks,
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), Add::add)
    }
}

impl Tally {
    /// Takes over what the transport counted.
    pub(crate) fn set_transport(&self, counted: contract::Counters) {
        self.enters.set(counted.enters);
        self.parks.set(counted.parks);
        self.sends.set(counted.sends);
        self.receives.set(counted.receives);
        self.bytes_sent.set(counted.bytes_sent);
        self.bytes_received.set(counted.bytes_received);
        self.paced.set(counted.paced);
        self.paced_bytes.set(counted.paced_bytes);
        self.accepted.set(counted.accepted);
        self.dialled.set(counted.dialled);
    }
}
