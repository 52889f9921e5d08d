//! A `Lease` object: what of it is read, and what is changed.

use std::time::{Duration, SystemTime};

use ringmesh_cluster::lease::{Ask, LeaseName, Token};
use serde_json::{Map, Value, json};

use super::time::{micro_time, seconds};

/// `leaseTransitions` is a number of so many bits, which is never negative.
const TRANSITIONS_BITS: u32 = 31;

/// The bits of a token above those: the seconds up to the year 2242.
const SECONDS_BITS: u32 = u64::BITS - TRANSITIONS_BITS;

/// The longest text that is read of an object, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// An object that was read, or is to be put in its place.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// All of it, also what is not understood here.
    whole: Map<String, Value>,
    holder: Option<String>,
    transitions: u32,
    /// When it was made, in seconds.
    made: u64,
    seconds_to_live: Option<u32>,
    mark: String,
}

/// A new object that nobody has.
pub(super) fn made_free(name: &LeaseName, namespace: &str) -> Vec<u8> {
    let object = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name.as_str(), "namespace": namespace },
        "spec": { "leaseTransitions": 0 },
    });
    object.to_string().into_bytes()
}

impl Lease {
    /// Reads an object of that name.
    pub(super) fn parse(body: &[u8], name: &LeaseName) -> Result<Self, Malformed> {
        let value = serde_json::from_slice(body).map_err(|_| Malformed("it is no JSON"))?;
        let Value::Object(whole) = value else {
            return Err(Malformed("it is no object"));
        };
        let kind = whole.get("kind").and_then(Value::as_str);
        let metadata = whole
            .get("metadata")
            .ok_or(Malformed("it has no metadata"))?;
        let its_name = metadata["name"].as_str();
        if kind.is_some_and(|kind| kind != "Lease") || its_name != Some(name.as_str()) {
            return Err(Malformed("it is another object"));
        }
        let version = text(&metadata["resourceVersion"])?;
        if version.is_none_or(str::is_empty) {
            return Err(Malformed("it has no version"));
        }
        let made = text(&metadata["creationTimestamp"])?.and_then(seconds);
        let made = made.filter(|made| *made >> SECONDS_BITS == 0);
        let made = made.ok_or(Malformed("it does not say when it was made"))?;
        let spec = whole.get("spec").unwrap_or(&Value::Null);
        let holder = text(&spec["holderIdentity"])?.filter(|holder| !holder.is_empty());
        let transitions = number(&spec["leaseTransitions"])?.unwrap_or(0);
        let seconds_to_live = number(&spec["leaseDurationSeconds"])?;
        let renewed = text(&spec["renewTime"])?.unwrap_or_default();
        let owner = holder.unwrap_or_default();
        let mark = format!("{made} {transitions} {seconds_to_live:?} {renewed} {owner}");
        Ok(Self {
            holder: holder.map(str::to_owned),
            transitions,
            made,
            seconds_to_live,
            mark,
            whole,
        })
    }

    /// Who has it, if somebody has.
    pub(super) fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    pub(super) fn token(&self) -> Token {
        Token(self.made << TRANSITIONS_BITS | u64::from(self.transitions))
    }

    /// How long whoever has it may have it without a renewal.
    pub(super) fn time_to_live(&self) -> Option<Duration> {
        let seconds = self.seconds_to_live.filter(|seconds| *seconds > 0)?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// What changes with every sign of life of its holder.
    pub(super) fn mark(&self) -> String {
        self.mark.clone()
    }

    /// It, given to whoever asks. `None`: it was given out as often as can be counted.
    pub(super) fn given(&self, ask: &Ask) -> Option<Self> {
        let transitions = self.transitions + 1;
        if transitions >> TRANSITIONS_BITS != 0 {
            return None;
        }
        let now = micro_time(SystemTime::now());
        let mut lease = self.renewed(ask);
        lease.set("holderIdentity", json!(&*ask.owner));
        lease.set("leaseTransitions", json!(transitions));
        lease.set("acquireTime", json!(now));
        Some(lease)
    }

    /// It, with all its time before it.
    pub(super) fn renewed(&self, ask: &Ask) -> Self {
        let mut lease = self.clone();
        let seconds = whole_seconds(ask.time_to_live);
        lease.set("leaseDurationSeconds", json!(seconds));
        lease.set("renewTime", json!(micro_time(SystemTime::now())));
        lease
    }

    /// It, held by nobody. Its transitions stay: the next token counts on.
    pub(super) fn released(&self) -> Self {
        let mut lease = self.clone();
        lease.set("holderIdentity", Value::Null);
        lease.set("leaseDurationSeconds", json!(1));
        lease.set("renewTime", json!(micro_time(SystemTime::now())));
        lease
    }

    /// It, held by nobody, with a last token that is far behind that one, which was given out.
    /// `None`: it has none that is smaller, or it cannot have such a one.
    pub(super) fn counting_on(&self, known: Token) -> Option<Self> {
        let token = Some(self.token().counting_on(known));
        let token = token.filter(|it| *it > self.token())?;
        let transitions = token.0.checked_sub(self.made << TRANSITIONS_BITS)?;
        if transitions >> TRANSITIONS_BITS != 0 {
            return None;
        }
        let mut lease = self.released();
        lease.transitions = u32::try_from(transitions).ok()?;
        lease.set("leaseTransitions", json!(transitions));
        Some(lease)
    }

    /// As it is sent. It names the version that was read: if that is not the latest any more, the
    /// server refuses it.
    pub(super) fn body(&self) -> Vec<u8> {
        Value::Object(self.whole.clone()).to_string().into_bytes()
    }

    /// Sets a field of the spec, or takes it away with `Null`.
    fn set(&mut self, field: &str, value: Value) {
        let spec = self.whole.entry("spec").or_insert_with(|| json!({}));
        if !spec.is_object() {
            *spec = json!({});
        }
        let Some(spec) = spec.as_object_mut() else {
            return;
        };
        if value.is_null() {
            spec.remove(field);
        } else {
            spec.insert(field.to_owned(), value);
        }
    }
}

/// Never less, and 1 at least.
fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.clamp(1, i32::MAX as u64)
}

fn text(value: &Value) -> Result<Option<&str>, Malformed> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => Ok(Some(text)),
        _ => Err(Malformed("a text in it is none, or too long")),
    }
}

fn number(value: &Value) -> Result<Option<u32>, Malformed> {
    let malformed = Malformed("a number in it is out of range");
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_u64().and_then(|it| u32::try_from(it).ok());
    let number = number.filter(|it| it >> TRANSITIONS_BITS == 0);
    number.map(Some).ok_or(malformed)
}

#[cfg(test)]
mod tests {
    use ringmesh_cluster::lease::{Deed, TOKENS_LEFT_OUT};

    use super::*;

    fn ask() -> Ask {
        Ask {
            number: 1,
            name: LeaseName::new("shop").unwrap(),
            owner: "b".into(),
            deed: Deed::Acquire(Token(0)),
            time_to_live: Duration::from_millis(14_001),
        }
    }

    fn object() -> Value {
        json!({
            "kind": "Lease",
            "metadata": {
                "name": "shop",
                "resourceVersion": "18",
                "creationTimestamp": "2023-06-13T01:56:13Z",
                "labels": { "app": "shop" },
            },
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 3600,
                "leaseTransitions": 5,
                "renewTime": "2023-07-04T21:58:48.065888Z",
            },
        })
    }

    fn parse(value: &Value) -> Result<Lease, Malformed> {
        Lease::parse(value.to_string().as_bytes(), &ask().name)
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut object = object();
        *object.pointer_mut(pointer).expect(pointer) = value;
        object
    }

    #[test]
    fn what_is_given_counts_on_and_keeps_what_others_wrote() {
        let lease = parse(&object()).unwrap();
        assert_eq!(lease.holder(), Some("a"));
        assert_eq!(lease.token(), Token(1_686_621_373 << 31 | 5));
        let given = serde_json::from_slice(&lease.given(&ask()).unwrap().body()).unwrap();
        let after = parse(&given).unwrap();
        assert_eq!(after.holder(), Some("b"));
        assert_eq!(after.token(), Token(lease.token().0 + 1));
        assert_eq!(after.time_to_live(), Some(Duration::from_secs(15)));
        assert_ne!(after.mark(), lease.mark());
        assert_eq!(given["metadata"], object()["metadata"]);
        let released = serde_json::from_slice(&after.released().body()).unwrap();
        let released = parse(&released).unwrap();
        assert_eq!((released.holder(), released.token()), (None, after.token()));
        let known = Token(lease.token().0 + 7);
        let on = lease.counting_on(known).unwrap();
        let given = on.given(&ask()).unwrap().body();
        let given = parse(&serde_json::from_slice(&given).unwrap()).unwrap();
        let on = parse(&serde_json::from_slice(&on.body()).unwrap()).unwrap();
        let far = Token(known.0 + TOKENS_LEFT_OUT);
        assert_eq!((on.holder(), on.token()), (None, far));
        assert_eq!(given.token(), Token(far.0 + 1));
        assert!(lease.counting_on(lease.token()).is_none(), "none is lost");
        let next = Token(1_686_621_374 << 31);
        assert!(lease.counting_on(next).is_none(), "one over its tokens");
    }

    #[test]
    fn an_object_that_was_made_later_has_larger_tokens() {
        let most = changed("/spec/leaseTransitions", json!(i32::MAX));
        let later = changed("/metadata/creationTimestamp", json!("2023-06-13T01:56:14Z"));
        let later = parse(&later).unwrap().token();
        let most = parse(&most).unwrap();
        assert!(later > most.token());
        assert!(most.given(&ask()).is_none(), "one over what can be counted");
    }

    #[test]
    fn what_cannot_be_is_malformed() {
        let malformed = [
            ("/kind", json!("Pod")),
            ("/metadata", json!(7)),
            ("/metadata/name", json!("ship")),
            ("/metadata/resourceVersion", json!("")),
            ("/metadata/creationTimestamp", json!("yesterday")),
            ("/metadata/creationTimestamp", Value::Null),
            ("/metadata/creationTimestamp", json!("9999-01-01T00:00:00Z")),
            ("/spec/holderIdentity", json!(["a"])),
            (
                "/spec/holderIdentity",
                json!("a".repeat(TEXT_BYTES_MAX + 1)),
            ),
            ("/spec/leaseTransitions", json!(-1)),
            ("/spec/leaseTransitions", json!(1_u64 << 31)),
            ("/spec/leaseDurationSeconds", json!("15")),
            ("/spec/renewTime", json!(15)),
        ];
        for (pointer, value) in malformed {
            assert!(parse(&changed(pointer, value)).is_err(), "{pointer}");
        }
        for text in ["", "[]", "{}", "7"] {
            assert!(
                Lease::parse(text.as_bytes(), &ask().name).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn an_object_without_a_spec_is_held_by_nobody() {
        let lease = parse(&changed("/spec", Value::Null)).unwrap();
        assert_eq!((lease.holder(), lease.time_to_live()), (None, None));
        let given = serde_json::from_slice(&lease.given(&ask()).unwrap().body()).unwrap();
        assert_eq!(parse(&given).unwrap().holder(), Some("b"));
    }
}
