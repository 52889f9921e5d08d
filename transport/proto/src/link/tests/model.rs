//! Two halves of a link against an oracle: what was pushed must arrive, in order, whatever happens
//! in between.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Tell {
        payload: usize,
        kind: u64,
        target: u32,
        how: How,
    },
    Reply {
        payload: usize,
        how: How,
    },
    Error,
    Gather {
        most: usize,
    },
    Sent,
    /// Bytes of the stream reach the other side.
    Deliver {
        most: usize,
    },
    Hold {
        share: u8,
    },
    Release,
    Grant,
    /// A grant made earlier comes late, or again.
    Stale {
        which: prop::sample::Index,
    },
    /// The connection ends behind so many bytes, and a grant with it.
    Cut {
        behind: usize,
    },
    /// There is another connection.
    Resume,
    /// A hello from before comes late, over a connection that ends when so much was handed out.
    Late {
        which: prop::sample::Index,
        most: usize,
    },
}

/// How a payload comes to the link.
#[derive(Clone, Copy, Debug)]
enum How {
    Measured,
    Unmeasured,
    /// It stays where it is.
    Shared,
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => Just(How::Measured),
        2 => Just(How::Unmeasured),
        3 => Just(How::Shared),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop_oneof![
        4 => 0..200usize,
        2 => 0..9000usize,
        1 => 60_000..70_000usize,
        1 => (CAP as usize - 40)..(CAP as usize + 2),
    ];
    prop_oneof![
        8 => (payload.clone(), 0..5u64, 0..40u32, how())
            .prop_map(|(payload, kind, target, how)| {
                Step::Tell { payload, kind, target, how }
            }),
        2 => (payload, how()).prop_map(|(payload, how)| Step::Reply { payload, how }),
        1 => Just(Step::Error),
        4 => (0..300_000usize).prop_map(|most| Step::Gather { most }),
        4 => Just(Step::Sent),
        4 => (0..400_000usize).prop_map(|most| Step::Deliver { most }),
        1 => any::<u8>().prop_map(|share| Step::Hold { share }),
        1 => Just(Step::Release),
        3 => Just(Step::Grant),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Stale { which }),
    ]
}

/// The same over connections that end anywhere.
fn step_or_cut() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => step(),
        1 => (0..200_000usize).prop_map(|behind| Step::Cut { behind }),
        1 => (0..100usize).prop_map(|behind| Step::Cut { behind }),
        3 => Just(Step::Resume),
        2 => (any::<prop::sample::Index>(), 0..100_000usize)
            .prop_map(|(which, most)| Step::Late { which, most }),
    ]
}

/// What a frame must look like on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    kind: Kind,
    message: Option<MessageType>,
    target: Option<Target>,
    correlation: Option<u64>,
    payload: Vec<u8>,
}

struct World {
    slabs: SlabPool,
    outbound: Outbound,
    inbound: Inbound,
    /// Slices given to the "kernel", until the send is done.
    sending: Vec<Piece>,
    wire: VecDeque<u8>,
    unparsed: Vec<u8>,
    expected: VecDeque<Expected>,
    grants: Vec<Grant>,
    held: usize,
    pushed: u64,
    freed: u64,
    connected: bool,
    /// What the "kernel" still holds of connections that ended.
    abandoned: Vec<Piece>,
}

impl World {
    fn new() -> Self {
        Self {
            slabs: SlabPool::new(1 << 20, CAP),
            outbound: outbound(),
            inbound: Inbound::new(WINDOW),
            sending: Vec::new(),
            wire: VecDeque::new(),
            unparsed: Vec::new(),
            expected: VecDeque::new(),
            grants: Vec::new(),
            held: 0,
            pushed: 0,
            freed: 0,
            connected: true,
            abandoned: Vec::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Tell {
                payload,
                kind,
                target,
                how,
            } => {
                self.tell(*payload, *kind, *target, *how);
            }
            Step::Reply { payload, how } => self.reply(*payload, *how),
            Step::Error => self.error(),
            Step::Gather { most } => {
                let from = self.sending.len();
                self.outbound.gather(*most, &mut self.sending);
                let gathered = self.sending[from..].iter();
                self.wire.extend(gathered.flat_map(|slice| slice.to_vec()));
            }
            Step::Sent if self.connected => {
                self.sending.clear();
                self.outbound.handle_sent();
            }
            Step::Sent => self.abandoned.clear(),
            Step::Deliver { most } => self.deliver(*most),
            Step::Hold { share } => {
                self.inbound.hold(usize::from(*share) * 100);
                self.held += usize::from(*share) * 100;
            }
            Step::Release => self.inbound.release(std::mem::take(&mut self.held)),
            Step::Grant => {
                if let Some(grant) = self.inbound.poll_grant(true) {
                    self.grants.push(grant);
                    if self.connected {
                        self.grant(grant);
                    }
                }
            }
            Step::Cut { behind } => self.lose(*behind),
            Step::Resume => self.resume(),
            Step::Late { which, most } => self.resume_in_vain(*which, *most),
            Step::Stale { which } => {
                if !self.grants.is_empty() {
                    self.grant(*which.get(&self.grants));
                }
            }
        }
        let Positions {
            received_to,
            sent,
            reached,
            tail,
            limit,
        } = self.outbound.positions();
        assert!(received_to <= sent && sent <= reached && reached <= tail);
        assert!(tail <= limit || self.outbound.in_flight_bytes() <= u64::from(WINDOW));
        assert!(
            tail - received_to <= u64::from(WINDOW),
            "the window is exceeded"
        );
    }

    fn tell(&mut self, payload: usize, kind: u64, slot: u32, how: How) {
        let before = self.outbound.positions();
        let bytes = vec![slot as u8; payload];
        let message = message(kind);
        let target = Target {
            slot,
            generation: 1,
        };
        let head = SendHead::Tell {
            message: &message,
            target,
        };
        let (outbound, slabs) = (&mut self.outbound, &mut self.slabs);
        let pushed = match how {
            How::Measured => outbound.push(slabs, head, &bytes[..]),
            How::Unmeasured => outbound.push(slabs, head, &Unmeasured(&bytes)),
            How::Shared => outbound.push_shared(slabs, head, &Bytes::from(bytes.clone())),
        };
        match pushed {
            Ok(position) => {
                assert!(position >= before.tail && payload <= CAP as usize);
                self.expect(Kind::Tell, Some(message), Some(target), None, bytes);
            }
            Err(PushError::TooLarge { .. }) => assert!(payload > CAP as usize),
            Err(PushError::NoCredit | PushError::NoMemory) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn reply(&mut self, payload: usize, how: How) {
        let bytes = vec![0xAB; payload];
        let correlation = self.pushed;
        let message = message(9);
        let extension = extension(correlation);
        let (outbound, slabs) = (&mut self.outbound, &mut self.slabs);
        let answered = match how {
            How::Shared => {
                let bytes = Bytes::from(bytes.clone());
                outbound.push_reply_shared(slabs, &message, extension, &bytes)
            }
            _ => outbound.push_reply(slabs, &message, extension, &bytes[..]),
        };
        match answered {
            Ok(Answered::Written | Answered::Deferred) => {
                self.expect(Kind::Reply, Some(message), None, Some(correlation), bytes);
            }
            Ok(Answered::Overloaded) => {
                self.expect(Kind::Error, None, None, Some(correlation), Vec::new());
            }
            Err(PushError::TooLarge { .. }) => assert!(payload + 16 > CAP as usize),
            Err(other) => panic!("{other}"),
        }
    }

    fn error(&mut self) {
        let correlation = self.pushed;
        let code = ErrorCode::Failed;
        self.outbound
            .push_error(&mut self.slabs, correlation, code)
            .map(drop)
            .unwrap();
        self.expect(Kind::Error, None, None, Some(correlation), Vec::new());
    }

    fn expect(
        &mut self,
        kind: Kind,
        message: Option<MessageType>,
        target: Option<Target>,
        correlation: Option<u64>,
        payload: Vec<u8>,
    ) {
        self.pushed += 1;
        self.expected.push_back(Expected {
            kind,
            message,
            target,
            correlation,
            payload,
        });
    }

    fn grant(&mut self, grant: Grant) {
        let freed = self.outbound.handle_grant(grant, &mut self.slabs).unwrap();
        self.freed += freed.messages;
    }

    fn lose(&mut self, behind: usize) {
        self.deliver(behind);
        self.wire.clear();
        self.unparsed.clear();
        self.abandoned.append(&mut self.sending);
        self.outbound.handle_lost();
        self.connected = false;
        // Made and never delivered.
        self.grants.extend(self.inbound.poll_grant(true));
    }

    fn resume(&mut self) {
        if self.connected {
            return;
        }
        let position = self.inbound.received_to();
        let positions = self.outbound.positions();
        for liar in [
            positions.received_to.wrapping_sub(1),
            positions.reached + 1,
            u64::MAX,
        ] {
            assert!(self.outbound.check_resume(liar).is_err(), "{liar}");
        }
        let grant = self.inbound.restate();
        assert_eq!(grant.received_to, position);
        let freed = self.outbound.resume(grant, &mut self.slabs).unwrap();
        self.freed += freed.messages;
        assert_eq!(self.outbound.positions().sent, position);
        self.connected = true;
    }

    fn resume_in_vain(&mut self, which: prop::sample::Index, most: usize) {
        if self.connected || self.grants.is_empty() {
            return;
        }
        let late = *which.get(&self.grants);
        if self.outbound.check_resume(late.received_to).is_ok() {
            let freed = self.outbound.resume(late, &mut self.slabs).unwrap();
            self.freed += freed.messages;
            if most > 50_000 {
                self.outbound.gather(most, &mut self.abandoned);
            }
            self.outbound.handle_lost();
        }
    }

    /// Parses what arrives and compares it with the oracle.
    fn deliver(&mut self, most: usize) {
        let most = most.min(self.wire.len());
        self.unparsed.extend(self.wire.drain(..most));
        let mut at = 0;
        while let Parse::Complete(frame) = parse(&self.unparsed[at..], CAP).unwrap() {
            self.inbound.accept(frame.wire_bytes).unwrap();
            match frame.header.kind {
                Kind::DefineType => {
                    self.inbound
                        .define_type(&DefineType::parse(&frame).unwrap())
                        .unwrap();
                }
                Kind::DefineTarget => {
                    let definition = DefineTarget::parse(&frame).unwrap();
                    let _ = self.inbound.define_target(&definition).unwrap();
                }
                _ => {
                    let arrived = Self::read(&self.inbound, &frame);
                    assert_eq!(Some(arrived), self.expected.pop_front());
                }
            }
            at += frame.wire_bytes;
        }
        self.unparsed.drain(..at);
    }

    fn read(inbound: &Inbound, frame: &Frame<'_>) -> Expected {
        let header = frame.header;
        let of_type = Some(header.type_number).filter(|number| *number > 0);
        let of_target = Some(header.target_number).filter(|number| *number > 0);
        Expected {
            kind: header.kind,
            message: of_type.map(|number| *inbound.message_type(number).unwrap()),
            target: of_target.map(|number| inbound.target(number).unwrap()),
            correlation: frame.extension.map(|extension| extension.correlation),
            payload: frame.payload.to_vec(),
        }
    }

    /// Lets everything through: all that was accepted must arrive, and no memory stay behind.
    fn settle(&mut self) {
        let calm = [
            Step::Release,
            Step::Gather { most: usize::MAX },
            Step::Sent,
            Step::Deliver { most: usize::MAX },
            Step::Grant,
        ];
        self.resume();
        self.abandoned.clear();
        for _ in 0..200 {
            calm.iter().for_each(|step| self.apply(step));
            self.outbound.drain_deferred(&mut self.slabs);
        }
        assert!(
            self.expected.is_empty(),
            "{} messages were lost",
            self.expected.len()
        );
        assert!(self.outbound.is_idle());
        assert_eq!(self.slabs.stats().in_use_bytes, 0);
        assert_eq!(
            self.freed, self.pushed,
            "each message was acknowledged once"
        );
    }

    /// Cuts the link instead: each message arrived, or is shown.
    fn cut(mut self) {
        self.deliver(usize::MAX);
        let received_to = self.inbound.received_to();
        let mut shown = 0;
        let mut shown_again = 0;
        let positions = self.outbound.positions();
        let acknowledged = self.outbound.drain_unacknowledged(&mut self.slabs, |lost| {
            assert!(lost.kind.is_message());
            shown += 1;
            shown_again += u64::from(!lost.sent);
        });
        assert_eq!(self.freed + acknowledged + shown, self.pushed);
        // Whatever was not handed out cannot have arrived.
        assert!(received_to <= positions.sent);
        assert!(shown_again <= self.expected.len() as u64);
        self.sending.clear();
        self.outbound.handle_sent();
        let refused = self
            .outbound
            .push_error(&mut self.slabs, 0, ErrorCode::Failed);
        assert!(refused.is_err(), "an ended link takes nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_arrives_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.apply(step));
        world.settle();
    }

    #[test]
    fn what_is_accepted_arrives_once_and_in_order_over_any_number_of_connections(
        steps in prop::collection::vec(step_or_cut(), 1..200),
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.apply(step));
        world.settle();
    }

    #[test]
    fn a_cut_link_loses_nothing_silently(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.apply(step));
        world.cut();
    }
}
