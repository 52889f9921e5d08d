//! Who and where: addresses, process starts, nodes, cores and actor paths.
//!
//! Texts have one form: `ringmesh://system@host:port` for an [`Address`], the same with
//! `/user/name` for an [`ActorPath`], or `/user/parent/name#7`. An IPv6 host stands in brackets.
//! Hosts are kept in one spelling (names in lower case, IPv6 shortened), so equal places compare
//! equal.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::fingerprint::Fnv1a;
use crate::limits::{
    ACTOR_DEPTH_MAX, ACTOR_NAME_BYTES_MAX, ACTOR_PATH_BYTES_MAX, HOST_BYTES_MAX, SYSTEM_BYTES_MAX,
};

/// Where a node is dialled: the name of its system, a host and a port.
///
/// An address outlives the process behind it; a [`NodeId`] does not. The host is not resolved here:
/// a name is looked up at every dial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Box<str>,
    port: u16,
    system: Box<str>,
}

impl Address {
    /// The address of `system` at `host` and `port`; an IPv6 host comes without brackets.
    ///
    /// # Errors
    /// [`ParseAddressError`] names the part that is empty, too long or has a character it may not.
    pub fn new(system: &str, host: &str, port: u16) -> Result<Self, ParseAddressError> {
        check_system(system)?;
        if port == 0 {
            return Err(ParseAddressError::Port);
        }
        Ok(Self {
            host: canonical_host(host)?,
            port,
            system: system.into(),
        })
    }

    /// The name of the system, which is the cluster's.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The host: a name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let Self { host, port, system } = self;
        write!(f, "{SCHEME}{system}@{open}{host}{close}:{port}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(ParseAddressError::Scheme)?;
        let (system, place) = rest.split_once('@').ok_or(ParseAddressError::System)?;
        let (host, port) = place.rsplit_once(':').ok_or(ParseAddressError::Port)?;
        // `u16::from_str` would take a sign.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseAddressError::Port);
        }
        let port = port.parse().map_err(|_| ParseAddressError::Port)?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed
                .strip_suffix(']')
                .filter(|host| host.contains(':'))
                .ok_or(ParseAddressError::Host)?,
            None if host.contains(':') => return Err(ParseAddressError::Host),
            None => host,
        };
        Self::new(system, host, port)
    }
}

/// Names one start of a process: random, never zero, drawn once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU64);

impl Uid {
    /// The uid with this value; zero is none.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The value on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

/// 16 lower-case hexadecimal digits.
impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

/// A node: one start of a process at an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Where it is dialled.
    pub address: Address,
    /// Which start of the process there.
    pub uid: Uid,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.address, self.uid)
    }
}

/// A pinned thread of a node, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hash of a cluster's name, by which a connection from another cluster is told apart before
/// anything else is read. It keeps mistakes out, not attackers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterHash(u64);

impl ClusterHash {
    /// The hash of the cluster named `name`: 64-bit FNV-1a.
    pub const fn of(name: &str) -> Self {
        Self(Fnv1a::new().bytes(name.as_bytes()).finish())
    }

    /// The hash with this value on the wire.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The value on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ClusterHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterHash({:016x})", self.0)
    }
}

/// The place of an actor: `ringmesh://system@host:port/user/name`, with the names of its parents
/// before its own, and `#` and a number behind it where one actor of that name is meant alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorPath {
    /// The node's address.
    pub address: Address,
    /// The actor's name behind those of its parents, with `/` between, as [`check_actor_path`]
    /// allows it.
    pub name: String,
    /// The generation of the actor, if no other that has the name is meant.
    pub generation: Option<u64>,
}

impl ActorPath {
    /// The path of whatever actor has `name` at `address`.
    ///
    /// # Errors
    /// [`ParseAddressError::ActorName`] or [`ParseAddressError::ActorPath`] when it is none.
    pub fn new(address: Address, name: &str) -> Result<Self, ParseAddressError> {
        check_actor_path(name)?;
        Ok(Self {
            address,
            name: name.to_owned(),
            generation: None,
        })
    }

    /// Whether the actor of that generation is meant, if it has the name.
    pub fn means(&self, generation: u64) -> bool {
        self.generation.is_none_or(|meant| meant == generation)
    }
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{USER}{}", self.address, self.name)?;
        match self.generation {
            Some(generation) => write!(f, "#{generation}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ActorPath {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(ParseAddressError::Scheme)?;
        let place = rest.find('/').ok_or(ParseAddressError::Path)?;
        let (address, path) = text.split_at(SCHEME.len() + place);
        let path = path.strip_prefix(USER).ok_or(ParseAddressError::Path)?;
        let (name, generation) = match path.split_once('#') {
            Some((name, number)) => (name, Some(parse_generation(number)?)),
            None => (path, None),
        };
        let path = Self::new(address.parse()?, name)?;
        Ok(Self { generation, ..path })
    }
}

/// A number as it is written: without a sign or leading zeros.
fn parse_generation(text: &str) -> Result<u64, ParseAddressError> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    let number = text.parse().map_err(|_| ParseAddressError::Generation)?;
    is_plain
        .then_some(number)
        .ok_or(ParseAddressError::Generation)
}

/// Checks the path of an actor behind `/user/`: up to 32 names with `/` between, 1024 bytes in all.
///
/// # Errors
/// [`ParseAddressError::ActorPath`] when it is too long or too deep, and
/// [`ParseAddressError::ActorName`] when one of the names is not one.
pub fn check_actor_path(path: &str) -> Result<(), ParseAddressError> {
    let depth = path.split('/').count();
    if path.len() > ACTOR_PATH_BYTES_MAX || depth > usize::from(ACTOR_DEPTH_MAX) {
        return Err(ParseAddressError::ActorPath);
    }
    path.split('/').try_for_each(check_actor_name)
}

/// Checks the name of an actor: 1 to 255 bytes without `/`, `#` and control characters.
///
/// # Errors
/// [`ParseAddressError::ActorName`] when it breaks the rule.
pub fn check_actor_name(name: &str) -> Result<(), ParseAddressError> {
    let fits = (1..=ACTOR_NAME_BYTES_MAX).contains(&name.len());
    if !fits || name.contains(|c: char| c == '/' || c == '#' || c.is_control()) {
        return Err(ParseAddressError::ActorName);
    }
    Ok(())
}

/// Why a text, or the parts of one from a peer, is not an address or a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAddressError {
    /// It does not begin with the scheme.
    #[error("an address begins with `{SCHEME}`")]
    Scheme,
    /// The system's name is missing or not one.
    #[error(
        "a system name has 1 to {SYSTEM_BYTES_MAX} letters, digits, `-`, `_` or `.`, and `@` \
         behind it"
    )]
    System,
    /// The host is missing or not one.
    #[error(
        "a host is a name of letters, digits, `-`, `_` and `.`, an IPv4 address, or an IPv6 \
         address in brackets"
    )]
    Host,
    /// The port is missing, zero or not a number.
    #[error("a port is a number from 1 to 65535, with `:` before it")]
    Port,
    /// Nothing, or something else than `/user/`, follows the address.
    #[error("an actor's path has `{USER}` and its name behind the address")]
    Path,
    /// The path has too many names, or is too long.
    #[error(
        "an actor's path has up to {ACTOR_DEPTH_MAX} names and {ACTOR_PATH_BYTES_MAX} bytes behind \
         `{USER}`"
    )]
    ActorPath,
    /// What is behind `#` is not a number.
    #[error("behind `#` in an actor's path is a number, without a sign or leading zeros")]
    Generation,
    /// The actor's name breaks its rule.
    #[error(
        "an actor's name has 1 to {ACTOR_NAME_BYTES_MAX} bytes without `/`, `#` and control \
         characters"
    )]
    ActorName,
}

const SCHEME: &str = "ringmesh://";
const USER: &str = "/user/";

/// Checks the name of a system, which is the cluster's: 1 to 64 ASCII letters, digits, `-`, `_`,
/// `.`.
///
/// # Errors
/// [`ParseAddressError::System`] when it breaks the rule.
pub fn check_system(name: &str) -> Result<(), ParseAddressError> {
    if (1..=SYSTEM_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_byte) {
        Ok(())
    } else {
        Err(ParseAddressError::System)
    }
}

fn canonical_host(host: &str) -> Result<Box<str>, ParseAddressError> {
    if !(1..=HOST_BYTES_MAX).contains(&host.len()) {
        return Err(ParseAddressError::Host);
    }
    if host.contains(':') {
        let address: Ipv6Addr = host.parse().map_err(|_| ParseAddressError::Host)?;
        return Ok(address.to_string().into());
    }
    if host.bytes().all(is_name_byte) {
        Ok(host.to_ascii_lowercase().into())
    } else {
        Err(ParseAddressError::Host)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = ParseAddressError>>(text: &str) -> ParseAddressError {
        text.parse::<T>()
            .err()
            .unwrap_or_else(|| panic!("`{text}` was parsed"))
    }

    #[test]
    fn texts_come_back_as_they_were() {
        for text in [
            "ringmesh://demo@127.0.0.1:2552",
            "ringmesh://demo@node-1.example.org:1",
            "ringmesh://a_b.c@[::1]:65535",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
            let path = format!("{text}/user/greeter @1");
            assert_eq!(path.parse::<ActorPath>().unwrap().to_string(), path);
            let path = format!("{text}/user/parent/$1f/child#18446744073709551615");
            let parsed: ActorPath = path.parse().unwrap();
            assert_eq!(parsed.to_string(), path);
            assert_eq!(
                (&*parsed.name, parsed.generation),
                ("parent/$1f/child", Some(u64::MAX))
            );
        }
    }

    #[test]
    fn one_place_has_one_spelling() {
        let lower: Address = "ringmesh://d@host.org:7".parse().unwrap();
        assert_eq!("ringmesh://d@HOST.org:7".parse::<Address>().unwrap(), lower);
        let short: Address = "ringmesh://d@[2001:db8::1]:7".parse().unwrap();
        let long = "ringmesh://d@[2001:0DB8:0:0:0:0:0:1]:7";
        assert_eq!(long.parse::<Address>().unwrap(), short);
        assert_eq!(short.host(), "2001:db8::1");
    }

    #[test]
    fn each_part_is_named_when_it_is_wrong() {
        use ParseAddressError as E;
        for (text, expected) in [
            ("", E::Scheme),
            ("http://d@h:1", E::Scheme),
            ("ringmesh://h:1", E::System),
            ("ringmesh://@h:1", E::System),
            ("ringmesh://a b@h:1", E::System),
            ("ringmesh://d@h", E::Port),
            ("ringmesh://d@h:", E::Port),
            ("ringmesh://d@h:0", E::Port),
            ("ringmesh://d@h:+1", E::Port),
            ("ringmesh://d@h:65536", E::Port),
            ("ringmesh://d@:1", E::Host),
            ("ringmesh://d@::1:1", E::Host),
            ("ringmesh://d@[::1:1", E::Host),
            ("ringmesh://d@[host]:1", E::Host),
            ("ringmesh://d@[::g]:1", E::Host),
            ("ringmesh://d@ho st:1", E::Host),
        ] {
            assert_eq!(error::<Address>(text), expected, "{text}");
        }
        for (text, expected) in [
            ("ringmesh://d@h:1", E::Path),
            ("ringmesh://d@h:1/", E::Path),
            ("ringmesh://d@h:1/system/x", E::Path),
            ("ringmesh://d@h:1/user/", E::ActorName),
            ("ringmesh://d@h:1/user/a//b", E::ActorName),
            ("ringmesh://d@h:1/user/a/", E::ActorName),
            ("ringmesh://d@h:1/user/#1", E::ActorName),
            ("ringmesh://d@h:1/user/a#", E::Generation),
            ("ringmesh://d@h:1/user/a#+1", E::Generation),
            ("ringmesh://d@h:1/user/a#01", E::Generation),
            ("ringmesh://d@h:1/user/a#1#1", E::Generation),
            (
                "ringmesh://d@h:1/user/a#18446744073709551616",
                E::Generation,
            ),
            ("ringmesh://d@h:1/user/a\n", E::ActorName),
            ("ringmesh://d@h:0/user/a", E::Port),
        ] {
            assert_eq!(error::<ActorPath>(text), expected, "{text}");
        }
    }

    #[test]
    fn one_over_each_length_is_refused() {
        let system = |length| check_system(&"s".repeat(length));
        assert_eq!(system(SYSTEM_BYTES_MAX), Ok(()));
        assert_eq!(system(SYSTEM_BYTES_MAX + 1), Err(ParseAddressError::System));
        let host = |length| Address::new("d", &"h".repeat(length), 1).map(|_| ());
        assert_eq!(host(HOST_BYTES_MAX), Ok(()));
        assert_eq!(host(HOST_BYTES_MAX + 1), Err(ParseAddressError::Host));
        let name = |length| check_actor_name(&"n".repeat(length));
        assert_eq!(name(ACTOR_NAME_BYTES_MAX), Ok(()));
        assert_eq!(
            name(ACTOR_NAME_BYTES_MAX + 1),
            Err(ParseAddressError::ActorName)
        );
        let deep = |names| check_actor_path(&vec!["n"; names].join("/"));
        assert_eq!(deep(usize::from(ACTOR_DEPTH_MAX)), Ok(()));
        let too_deep = deep(usize::from(ACTOR_DEPTH_MAX) + 1);
        assert_eq!(too_deep, Err(ParseAddressError::ActorPath));
        let name = "n".repeat(ACTOR_PATH_BYTES_MAX / 8 - 1);
        let path = [&*name; 8].join("/") + "n";
        assert_eq!(
            (path.len(), check_actor_path(&path)),
            (ACTOR_PATH_BYTES_MAX, Ok(()))
        );
        let too_long = check_actor_path(&(path + "n"));
        assert_eq!(too_long, Err(ParseAddressError::ActorPath));
    }

    #[test]
    fn a_uid_is_sixteen_digits_and_never_zero() {
        assert_eq!(Uid::new(0), None);
        assert_eq!(Uid::new(0xAB).unwrap().to_string(), "00000000000000ab");
    }
}
