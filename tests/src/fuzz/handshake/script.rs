//! The bytes of a script, read as steps and values.

use std::time::Duration;

use ringmesh_proto::address::{ClusterHash, CoreId};
use ringmesh_proto::limits::HEADER_BYTES;

use super::{
    Accept, Bye, ByeReason, HERE, Hello, Lane, OFFER, Offer, Ping, Pong, Preface, Refuse,
    RefuseReason, Rest, Role, Step, address, good_preface, uid,
};

/// What is left of a script. Behind its end there are zeros.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl Script<'_> {
    /// The next step, `None` at the end.
    pub(super) fn step(&mut self) -> Option<Step> {
        let (choice, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(Step::ALL[*choice as usize % Step::ALL.len()])
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    pub(super) fn fill(&mut self, into: &mut [u8]) {
        into.fill_with(|| self.byte());
    }

    /// A preface that is right but for what the script makes wrong.
    pub(super) fn preface(&mut self) -> Preface {
        let mut preface = good_preface(self.byte());
        let flaw = self.byte();
        let number = self.byte();
        match flaw {
            1 => preface.cluster = ClusterHash::of("other"),
            2 => preface.format_fingerprint ^= 1,
            3 => (preface.role, preface.lane) = (Role::Client, Lane::Control),
            4 => (preface.lane, preface.sending_core) = (Lane::Control, CoreId(1)),
            5 => preface.wanted_core = Some(CoreId(u16::from(number))),
            6 => preface.expected_uid = Some(uid(number)),
            7 => preface.version_min = preface.version_min.saturating_add(1),
            _ => {}
        }
        preface
    }

    pub(super) fn hello(&mut self) -> Hello {
        let from = address(self.byte());
        let (to, offer) = (self.byte(), self.offer());
        let to = address(if to < 0xF0 { HERE } else { to });
        Hello { from, to, offer }
    }

    /// An answer to the dial of an address, with the nonce of that dial or another one, for the
    /// `link` that it offers or a new one.
    pub(super) fn accept(&mut self, nonce: u64, link: u64) -> Accept {
        let from = address(self.byte());
        let uid = uid(self.byte());
        let (other, mut offer) = (self.byte(), self.offer());
        offer.link = match offer.received_to {
            Some(_) => link,
            None => nonce,
        };
        let nonce = if other < 0xF0 { nonce } else { !nonce };
        let to = address(HERE);
        Accept {
            from,
            to,
            offer,
            uid,
            nonce,
        }
    }

    fn offer(&mut self) -> Offer {
        let mut offer = OFFER;
        match self.byte() {
            1 => offer.body_cap = 0,
            2 => offer.body_cap = u32::MAX,
            3 => offer.limit = 0,
            4 => offer.received_to = Some(1),
            5 => offer.limit = u64::MAX,
            6 => offer.cores = 0,
            7 => offer.links_max = 0,
            8 => offer.received_to = Some(0),
            9 => offer.link ^= 1,
            10 => offer.features = 0,
            _ => {}
        }
        offer
    }

    pub(super) fn refuse(&mut self) -> Refuse {
        let reason = match self.byte() % 6 {
            0 => RefuseReason::Superseded,
            1 => RefuseReason::Incarnation,
            2 => RefuseReason::Cluster,
            3 => RefuseReason::Former,
            4 => RefuseReason::Overloaded,
            _ => RefuseReason::Other,
        };
        let text = "refused by a script".to_owned();
        Refuse { reason, text }
    }

    pub(super) fn service(&mut self, nonce: u64) -> Vec<u8> {
        let mut frame = vec![0; 2 * HEADER_BYTES];
        let bytes = match self.byte() % 5 {
            0 => Ping { nonce }.encode(&mut frame),
            1 => Pong { nonce: !nonce }.encode(&mut frame),
            2 => Pong { nonce }.encode(&mut frame),
            4 => Rest.encode(&mut frame),
            _ => {
                let reason = ByeReason::Stopping;
                Bye { reason }.encode(&mut frame)
            }
        };
        frame.truncate(bytes);
        frame
    }

    /// A frame of any kind, with a body of up to 255 bytes.
    pub(super) fn raw_frame(&mut self) -> Vec<u8> {
        let body_bytes = self.byte();
        let mut frame = vec![0; HEADER_BYTES + usize::from(body_bytes)];
        self.fill(&mut frame[8..]);
        frame[0] = body_bytes;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&frame[..4]);
        hasher.update(&frame[8..]);
        frame[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
        frame
    }

    /// From no time to half a minute.
    pub(super) fn span(&mut self, exponent: u8) -> Duration {
        Duration::from_millis((1 << (exponent % 15)) - 1)
    }
}

/// The number of `step` in a script.
fn code(step: Step) -> u8 {
    step as u8
}

/// The steps with which a stranger becomes known on connection `at`, as the start `uid` of the node
/// at address `from`.
fn introduced(at: u8, from: u8, uid: u8) -> Vec<u8> {
    let connect = [code(Step::Incoming), 0];
    let preface = [code(Step::Preface), at, uid, 0, 0];
    let hello = [code(Step::Hello), at, from, 0, 0];
    [&connect[..], &preface, &hello].concat()
}

/// The steps of a dial of association `to` up to its hello, on connection `at`.
fn dialled(at: u8, to: u8) -> Vec<u8> {
    let want = [code(Step::Want), to];
    let started = [code(Step::Dialled), to, 1];
    let connected = [code(Step::Connected), at];
    [&want[..], &started, &connected].concat()
}

fn accepted(at: u8, from: u8, uid: u8) -> Vec<u8> {
    vec![code(Step::Accept), at, from, uid, 0, 0]
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let service = |at, choice| vec![code(Step::Service), at, choice];
    let time = |exponent| vec![code(Step::Time), exponent];
    let closed = |at| vec![code(Step::Closed), at];
    let seed = |name: &str, steps: &[Vec<u8>]| (name.to_owned(), steps.concat());
    let mut seeds = vec![
        seed(
            "incoming-link",
            &[introduced(0, 1, 4), service(0, 0), service(0, 3)],
        ),
        seed(
            "dialled-link",
            &[dialled(0, 0), accepted(0, 1, 4), service(0, 0), closed(0)],
        ),
        seed(
            "both-dial-link-the-lower-stays",
            &[dialled(0, 0), introduced(1, 1, 1), accepted(0, 1, 1)],
        ),
        seed(
            "both-dial-refused-the-higher",
            &[dialled(0, 0), introduced(1, 1, 5), accepted(0, 1, 5)],
        ),
        seed(
            "second-link-refused-and-probed",
            &[introduced(0, 1, 4), again(1, 9), service(0, 1), time(12)],
        ),
        seed(
            "restart-link",
            &[
                introduced(0, 1, 4),
                introduced(1, 1, 5),
                time(10),
                introduced(2, 1, 4),
            ],
        ),
        seed(
            "lost-link-dialled-again",
            &[dialled(0, 0), accepted(0, 1, 4), closed(0), time(14)],
        ),
        seed(
            "silence",
            &[
                vec![code(Step::Incoming), 0],
                time(14),
                dialled(1, 0),
                time(14),
            ],
        ),
    ];
    seeds.extend(resumptions());
    seeds.extend(rests());
    let heard = vec![code(Step::Heard), 0];
    let doubted = [introduced(0, 1, 4), introduced(1, 1, 5), heard, time(14)];
    seeds.push(seed("link-lives-newcomer-refused", &doubted));
    let redial = vec![code(Step::Redial), 0, code(Step::Dialled), 0, 1];
    seeds.push(seed(
        "dialled-elsewhere",
        &[dialled(0, 0), redial, time(14)],
    ));
    let stop = vec![code(Step::Stop), 0];
    let late = [dialled(0, 0), accepted(0, 1, 4), stop, introduced(1, 1, 4)];
    seeds.push(seed("link-stopped-and-refused", &late));
    seeds.extend(refusals());
    seeds
}

/// The node of `introduced(_, 1, 4)` on another connection, with another offer.
fn again(at: u8, offer: u8) -> Vec<u8> {
    let mut steps = introduced(at, 1, 4);
    steps.truncate(steps.len() - 1);
    steps.push(offer);
    steps
}

/// Links that lost their connection, and what comes of them.
fn resumptions() -> Vec<(String, Vec<u8>)> {
    let seed = |name: &str, steps: &[Vec<u8>]| (name.to_owned(), steps.concat());
    let time = |exponent| vec![code(Step::Time), exponent];
    let closed = || vec![code(Step::Closed), 0];
    let lost = [introduced(0, 1, 4), closed()].concat();
    let mut seeds = vec![
        seed("link-resumed-by-its-peer", &[lost.clone(), again(1, 8)]),
        seed(
            "link-refused-then-resumed",
            &[lost.clone(), again(1, 4), again(2, 8)],
        ),
        seed("link-taken-over", &[introduced(0, 1, 4), again(1, 8)]),
        seed("link-given-up", &[lost, time(14), again(1, 8)]),
    ];
    let dialled_again = [code(Step::Dialled), 0, 1, code(Step::Connected), 1].to_vec();
    for (name, answer) in [("resumed", 8), ("not-resumed", 4), ("forgotten", 0)] {
        let steps = [
            dialled(0, 0),
            accepted(0, 1, 4),
            closed(),
            time(10),
            dialled_again.clone(),
            vec![code(Step::Accept), 1, 1, 4, 0, answer],
        ];
        seeds.push(seed(&format!("dialled-link-{name}"), &steps));
    }
    seeds
}

/// Links that rest and wake, and rests that are out of place.
fn rests() -> Vec<(String, Vec<u8>)> {
    let seed = |name: &str, steps: &[Vec<u8>]| (name.to_owned(), steps.concat());
    let rest = || vec![code(Step::Service), 0, 4];
    let idle = || vec![code(Step::Idle), 0];
    let woken = [
        code(Step::Wake),
        0,
        code(Step::Dialled),
        0,
        1,
        code(Step::Connected),
        1,
    ];
    let long = || vec![code(Step::Time), 14];
    let mut unable = introduced(0, 1, 4);
    unable.truncate(unable.len() - 1);
    unable.push(10);
    vec![
        seed(
            "link-rested-resumed-by-its-peer",
            &[introduced(0, 1, 4), idle(), long(), again(1, 8)],
        ),
        seed(
            "link-rested-when-asked",
            &[
                introduced(0, 1, 4),
                rest(),
                rest(),
                vec![code(Step::Stop), 0],
            ],
        ),
        seed(
            "dialled-link-rested-resumed",
            &[
                dialled(0, 0),
                accepted(0, 1, 4),
                idle(),
                rest(),
                long(),
                woken.to_vec(),
                vec![code(Step::Accept), 1, 1, 4, 0, 8],
            ],
        ),
        seed(
            "link-rested-restart",
            &[introduced(0, 1, 4), idle(), introduced(1, 1, 5)],
        ),
        seed("link-without-rest", &[unable, idle(), rest()]),
        seed("early-rest", &[dialled(0, 0), rest(), long()]),
    ]
}

/// Strangers that are refused, and dials that are.
fn refusals() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for flaw in 1..8 {
        let preface = [code(Step::Preface), 0, 4, flaw, 1];
        let steps = [vec![code(Step::Incoming), 0], preface.to_vec()];
        seeds.push((format!("refused-preface-{flaw}"), steps.concat()));
    }
    for reason in 0..6 {
        let refuse = vec![code(Step::Refuse), 0, reason];
        let steps = [dialled(0, 0), refuse, vec![code(Step::Time), 14]];
        seeds.push((format!("told-no-{reason}"), steps.concat()));
    }
    seeds
}
