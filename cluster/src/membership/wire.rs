//! A view as bytes.
//!
//! Members come first, in the order of their process starts; all that follows names them by their
//! place in that order. So a view in which strangers are named cannot even be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::clock::VersionVector;
use super::gossip::{ClusterId, Gossip, MEMBERS_MAX, Parts, TOMBSTONE_AGE, Tombstone, Warrant};
use super::member::{Member, Profile, UpNumber};
use super::memory::{Memory, Remembered, Voice};
use super::reachability::{Reachability, Reason, Record, Row, Witness};
use super::roles::{DATA_CENTRE_BYTES_MAX, Roles};
use super::status::Status;
use crate::codec::{self, CodecError, Reader, Writer};
use crate::lease::Token;

/// Appends a view. Ages of tombstones are those at `now`.
pub fn write_gossip(writer: &mut Writer, gossip: &Gossip, now: Instant) {
    let places: BTreeMap<Uid, u16> = gossip.members().map(Member::uid).zip(0..).collect();
    let place = |uid: Uid| places.get(&uid).copied();
    writer.u64(gossip.cluster().0);
    writer.count(gossip.members().len());
    for member in gossip.members() {
        write_member(writer, member);
        if member.status() == Status::Down {
            writer.u8(u8::from(!gossip.has_resigned(member.uid())));
        }
    }
    let seen = gossip.seen().iter().filter_map(|uid| place(*uid));
    writer.count(seen.clone().count());
    seen.for_each(|place| {
        writer.u16(place);
    });
    writer.count(gossip.version().iter().len());
    for (uid, changes) in gossip.version().iter() {
        writer.u16(place(uid).unwrap_or(u16::MAX)).u64(changes);
    }
    writer.count(gossip.reachability().rows().len());
    for (observer, row) in gossip.reachability().rows() {
        writer.u16(place(observer).unwrap_or(u16::MAX));
        write_row(writer, row, place);
    }
    writer.count(gossip.tombstones().len());
    for (uid, tombstone) in gossip.tombstones() {
        let age = (now - tombstone.since).as_secs();
        writer.uid(uid).u8(tombstone.previous.to_wire());
        writer.u32(u32::try_from(age).unwrap_or(u32::MAX));
    }
    writer.count(gossip.warrants().len());
    for (data_centre, warrant) in gossip.warrants() {
        writer.text(data_centre);
        writer.u64(warrant.token.0);
        writer.u64(warrant.holder.map_or(0, Uid::as_u64));
    }
}

fn write_row(writer: &mut Writer, row: &Row, place: impl Fn(Uid) -> Option<u16>) {
    writer.u64(row.version).count(row.records.len());
    for (subject, record) in &row.records {
        writer.u16(place(*subject).unwrap_or(u16::MAX));
        writer.u8(record.reason.to_wire());
        let witnesses = record.witnesses.iter();
        let known = witnesses.filter_map(|it| Some((place(it.observer)?, it.hears)));
        writer.u8(u8::try_from(known.clone().count()).unwrap_or(u8::MAX));
        for (witness, hears) in known {
            writer.u16(witness).u8(u8::from(hears));
        }
    }
}

fn write_member(writer: &mut Writer, member: &Member) {
    write_profile(writer, member.profile());
    writer.u8(member.status().to_wire());
    writer.u32(member.up_number().0);
}

/// Appends what a node says of itself.
pub fn write_profile(writer: &mut Writer, profile: &Profile) {
    writer.uid(profile.node.uid).address(&profile.node.address);
    writer.text(profile.app_version.as_str());
    writer.u8(u8::try_from(profile.roles.iter().len()).unwrap_or(u8::MAX));
    profile.roles.iter().for_each(|role| {
        writer.text(role);
    });
}

/// Reads a view of the cluster of `system`, at `now`.
///
/// # Errors
/// [`CodecError`] if it is none that a member can have.
pub fn read_gossip(
    reader: &mut Reader<'_>,
    system: &str,
    now: Instant,
) -> Result<Gossip, CodecError> {
    let cluster = ClusterId(reader.u64()?);
    let mut given_up = BTreeSet::new();
    let list: Vec<Member> = codec::list(reader, |reader| {
        let member = read_member(reader, system)?;
        if member.status() == Status::Down && codec::flag(reader)? {
            given_up.insert(member.uid());
        }
        Ok(member)
    })?;
    if !list.is_sorted_by(|a, b| a.uid() < b.uid()) {
        return Err(CodecError::State);
    }
    let uids: Vec<Uid> = list.iter().map(Member::uid).collect();
    let member = |reader: &mut Reader<'_>| -> Result<Uid, CodecError> {
        let place = usize::from(reader.u16()?);
        uids.get(place).copied().ok_or(CodecError::State)
    };
    let seen: Vec<Uid> = codec::list(reader, member)?;
    let version: Vec<(Uid, u64)> =
        codec::list(reader, |reader| Ok((member(reader)?, reader.u64()?)))?;
    let rows: Vec<(Uid, Row)> = codec::list(reader, |reader| {
        Ok((member(reader)?, read_row(reader, member)?))
    })?;
    let tombstones: Vec<(Uid, Tombstone)> =
        codec::list(reader, |reader| read_tombstone(reader, now))?;
    let warrants: Vec<(Box<str>, Warrant)> = codec::list(reader, read_warrant)?;
    let mut reachability = Reachability::default();
    ascending(&rows, |row| row.0)?;
    rows.into_iter()
        .for_each(|(observer, row)| reachability.insert(observer, row));
    ascending(&seen, |uid| *uid)?;
    ascending(&version, |entry| entry.0)?;
    ascending(&tombstones, |entry| entry.0)?;
    ascending(&warrants, |entry| entry.0.clone())?;
    let parts = Parts {
        cluster,
        members: list.into_iter().map(|it| (it.uid(), it)).collect(),
        given_up,
        seen: BTreeSet::from_iter(seen),
        reachability,
        version: VersionVector::from_iter(version),
        tombstones: tombstones.into_iter().collect(),
        warrants: warrants.into_iter().collect(),
    };
    Gossip::from_parts(parts).map_err(|_| CodecError::State)
}

/// Each once, in order: a view has one spelling.
fn ascending<T, K: PartialOrd>(list: &[T], key: impl Fn(&T) -> K) -> Result<(), CodecError> {
    if list.is_sorted_by(|a, b| key(a) < key(b)) {
        return Ok(());
    }
    Err(CodecError::State)
}

fn read_row(
    reader: &mut Reader<'_>,
    member: impl Fn(&mut Reader<'_>) -> Result<Uid, CodecError>,
) -> Result<Row, CodecError> {
    let version = reader.u64()?;
    let records: Vec<(Uid, Record)> = codec::list(reader, |reader| {
        let subject = member(reader)?;
        let reason = Reason::from_wire(reader.u8()?).ok_or(CodecError::Number)?;
        let count = reader.u8()?;
        let witness = |_| {
            let observer = member(reader)?;
            let hears = codec::flag(reader)?;
            Ok(Witness { observer, hears })
        };
        let witnesses: Vec<Witness> = (0..count).map(witness).collect::<Result<_, CodecError>>()?;
        ascending(&witnesses, |it| it.observer)?;
        Ok((subject, Record { reason, witnesses }))
    })?;
    ascending(&records, |entry| entry.0)?;
    let records = records.into_iter().collect();
    Ok(Row { version, records })
}

fn read_member(reader: &mut Reader<'_>, system: &str) -> Result<Member, CodecError> {
    let profile = read_profile(reader, system)?;
    let status = Status::from_wire(reader.u8()?).ok_or(CodecError::Number)?;
    let up_number = UpNumber(reader.u32()?);
    Ok(Member::new(Arc::new(profile), status, up_number))
}

/// Reads what a node says of itself.
///
/// # Errors
/// [`CodecError`] if no node can say so.
pub fn read_profile(reader: &mut Reader<'_>, system: &str) -> Result<Profile, CodecError> {
    let node = codec::node(reader, system)?;
    let app_version = codec::text(reader)?.parse().map_err(|_| CodecError::Text)?;
    let count = reader.u8()?;
    let role = |_| Ok(Box::from(codec::text(reader)?));
    let roles = (0..count).map(role).collect::<Result<_, CodecError>>()?;
    let roles = Roles::from_wire(roles).ok_or(CodecError::Text)?;
    Ok(Profile {
        node,
        roles,
        app_version,
    })
}

/// Appends what is remembered of a cluster.
pub fn write_memory(writer: &mut Writer, memory: &Memory) {
    writer.u64(memory.cluster.0).count(memory.members.len());
    for it in &*memory.members {
        writer.uid(it.node.uid).address(&it.node.address);
        writer.text(&it.data_centre).u8(it.voice.to_wire());
    }
}

/// Reads it.
///
/// # Errors
/// [`CodecError`] if nobody can remember that.
pub fn read_memory(reader: &mut Reader<'_>, system: &str) -> Result<Memory, CodecError> {
    let cluster = ClusterId(reader.u64()?);
    let members: Vec<Remembered> = codec::list(reader, |reader| {
        Ok(Remembered {
            node: codec::node(reader, system)?,
            data_centre: codec::text(reader)?.into(),
            voice: Voice::from_wire(reader.u8()?).ok_or(CodecError::Number)?,
        })
    })?;
    if members.len() > MEMBERS_MAX {
        return Err(CodecError::State);
    }
    let members = members.into();
    Ok(Memory { cluster, members })
}

fn read_tombstone(reader: &mut Reader<'_>, now: Instant) -> Result<(Uid, Tombstone), CodecError> {
    let uid = codec::uid(reader)?;
    let previous = Status::from_wire(reader.u8()?).ok_or(CodecError::Number)?;
    let age = Duration::from_secs(reader.u32()?.into()).min(TOMBSTONE_AGE);
    let since = Instant::from_nanos(now.as_nanos().saturating_sub(age.as_nanos() as u64));
    Ok((uid, Tombstone { previous, since }))
}

fn read_warrant(reader: &mut Reader<'_>) -> Result<(Box<str>, Warrant), CodecError> {
    let data_centre = codec::text(reader)?;
    if data_centre.len() > DATA_CENTRE_BYTES_MAX {
        return Err(CodecError::Text);
    }
    let data_centre = data_centre.into();
    let token = Token(reader.u64()?);
    let holder = Uid::new(reader.u64()?);
    Ok((data_centre, Warrant { token, holder }))
}

#[cfg(test)]
mod tests;
