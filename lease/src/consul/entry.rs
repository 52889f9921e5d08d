//! A key of Consul, and what else is read of its answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringmesh_cluster::lease::{LEASE_OWNER_BYTES_MAX, Token};
use serde_json::Value;

use super::FLAGS;
use crate::refusal::one_line;

/// So many bits of a token count the locks of a key.
const LOCKS_BITS: u32 = 24;

/// The bits above those say when it was made.
const MADE_BITS: u32 = u64::BITS - LOCKS_BITS;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

const NO_TOKEN: Malformed = Malformed("the numbers of the key make no token");

/// A key, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    made: u64,
    locks: u64,
    session: Option<String>,
    owner: Option<Box<str>>,
}

impl Entry {
    /// Reads the answer about one key.
    pub(super) fn parse(value: &Value) -> Result<Self, Malformed> {
        let entries = value.as_array().ok_or(Malformed("it is no list of keys"))?;
        let [entry] = entries.as_slice() else {
            return Err(Malformed("it is not about one key"));
        };
        let lacking = Malformed("the key lacks a number");
        let number = |field: &str| entry[field].as_u64().ok_or(lacking);
        let (made, locks) = (number("CreateIndex")?, number("LockIndex")?);
        if number("Flags")? != FLAGS {
            return Err(Malformed(
                "somebody else wrote the key: delete it when it is certain that nobody holds the \
                 lease",
            ));
        }
        let session = match &entry["Session"] {
            Value::Null => None,
            Value::String(id) if id.is_empty() => None,
            Value::String(id) => Some(id.clone()),
            _ => return Err(Malformed("the key has a session that is none")),
        };
        let owner = entry["Value"].as_str().and_then(owner);
        Ok(Self {
            made,
            locks,
            session,
            owner,
        })
    }

    /// The session that has the lock.
    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The token of whoever has the lock, or had it last. Before anybody had, that behind which
    /// tokens begin.
    pub(super) fn last(&self) -> Result<Token, Malformed> {
        if self.made >> MADE_BITS != 0 || self.locks >> LOCKS_BITS != 0 {
            return Err(NO_TOKEN);
        }
        Ok(Token(self.made << LOCKS_BITS | self.locks))
    }

    /// The token of whoever has the lock.
    pub(super) fn token(&self) -> Result<Token, Malformed> {
        match self.locks {
            0 => Err(NO_TOKEN),
            _ => self.last(),
        }
    }

    /// Who has it, or the session of that one if it wrote something else.
    pub(super) fn owner(&self) -> Box<str> {
        let session = self.session.as_deref().unwrap_or_default();
        let session = one_line(session, LEASE_OWNER_BYTES_MAX);
        self.owner.clone().unwrap_or_else(|| session.into())
    }
}

/// Reads the answer to the making of a session. What is no session could lead elsewhere, for it
/// becomes a part of a path.
pub(super) fn session_id(value: &Value) -> Result<String, Malformed> {
    let malformed = Malformed("it names no session");
    let id = value["ID"].as_str().ok_or(malformed)?;
    let is_good = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let is_id = id.len() == 36 && id.bytes().all(is_good);
    is_id.then(|| id.to_owned()).ok_or(malformed)
}

/// The owner that a value names.
fn owner(value: &str) -> Option<Box<str>> {
    let value: Value = serde_json::from_slice(&STANDARD.decode(value).ok()?).ok()?;
    let owner = value["owner"].as_str()?;
    Some(one_line(owner, LEASE_OWNER_BYTES_MAX).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_is_read_as_it_is_written() {
        let known = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("dGVzdA==", "test"),
            ("fn5+Pz8/", "~~~???"),
        ];
        for (text, bytes) in known {
            assert_eq!(STANDARD.decode(text).as_deref(), Ok(bytes.as_bytes()));
        }
        for bad in [
            "Zg",
            "Zg=",
            "Z===",
            "Zm9*",
            "Zm9v\n",
            "====",
            "\u{e4}\u{e4}",
        ] {
            assert!(STANDARD.decode(bad).is_err(), "{bad}");
        }
    }

    fn key(changes: &[(&str, Value)]) -> Value {
        let mut key = json!({
            "CreateIndex": 100, "ModifyIndex": 200, "LockIndex": 3, "Flags": FLAGS,
            "Value": "eyJvd25lciI6ImEifQ==",
        });
        for (field, value) in changes {
            key[field] = value.clone();
        }
        json!([key])
    }

    #[test]
    fn a_token_is_when_the_key_was_made_and_how_often_it_was_locked() {
        let token = |made: u64, locks: u64| {
            let key = key(&[("CreateIndex", json!(made)), ("LockIndex", json!(locks))]);
            Entry::parse(&key).unwrap().token()
        };
        assert_eq!(token(100, 3), Ok(Token(100 << 24 | 3)));
        let most = (1 << LOCKS_BITS) - 1;
        assert!(token(101, 1).unwrap() > token(100, most).unwrap());
        let unlocked = key(&[("LockIndex", json!(0))]);
        let last = Entry::parse(&unlocked).unwrap().last();
        assert_eq!(last, Ok(Token(100 << 24)), "tokens begin behind it");
        for (made, locks) in [(100, 0), (100, most + 1), (1 << MADE_BITS, 1)] {
            assert!(
                token(made, locks).is_err(),
                "one over what there is room for"
            );
        }
    }

    #[test]
    fn a_key_names_its_owner_or_else_its_session() {
        let id = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";
        let entry = key(&[("Value", json!("dGVzdA==")), ("Session", json!(id))]);
        let entry = Entry::parse(&entry).unwrap();
        assert_eq!((entry.session(), &*entry.owner()), (Some(id), id));
        let free = Entry::parse(&key(&[("Session", json!(""))])).unwrap();
        assert_eq!((free.session(), &*free.owner()), (None, "a"));
    }

    #[test]
    fn what_cannot_be_is_malformed() {
        assert!(Entry::parse(&key(&[])).is_ok());
        let malformed = [
            json!({}),
            json!([]),
            json!([{}]),
            key(&[("CreateIndex", json!(-1))]),
            key(&[("LockIndex", Value::Null)]),
            key(&[("Session", json!(7))]),
            key(&[("Flags", json!(0))]),
            json!([key(&[])[0], key(&[])[0]]),
        ];
        for value in malformed {
            assert!(Entry::parse(&value).is_err(), "{value}");
        }
        for id in [
            json!(7),
            json!(""),
            json!("../../../../../../agent/leave?12345678"),
        ] {
            assert!(session_id(&json!({ "ID": id })).is_err(), "{id}");
        }
    }
}
