//! A node that joins only when the version of its program is known.

use std::sync::Arc;

use ringmesh_proto::address::Address;

use super::{Membership, Phase};
use crate::context::Context;
use crate::membership::command::CommandError;
use crate::membership::settings;
use crate::membership::version::AppVersion;

/// What it does then.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    /// It was asked to join by these.
    seeds: Option<Vec<Address>>,
}

impl Membership {
    /// The version of the program comes later, by
    /// [`Command::SetAppVersion`](crate::membership::command::Command::SetAppVersion): until then
    /// this node does not join, whatever it is asked, and is in no cluster for whoever asks it. To
    /// be called first.
    pub fn postpone(&mut self) {
        self.postponed = Some(Postponed::default());
    }

    pub(super) fn join_when_known(
        &mut self,
        cx: &mut Context<'_>,
        seeds: Vec<Address>,
    ) -> Result<(), CommandError> {
        let Some(postponed) = &mut self.postponed else {
            return self.begin_to_join(cx, &seeds);
        };
        if postponed.seeds.is_some() {
            return Err(CommandError::AlreadyJoined);
        }
        settings::seeds(&self.own.node.address, &seeds)?;
        postponed.seeds = Some(seeds);
        Ok(())
    }

    pub(super) fn set_app_version(
        &mut self,
        cx: &mut Context<'_>,
        version: AppVersion,
    ) -> Result<(), CommandError> {
        if !matches!(self.phase, Phase::Idle) {
            return Err(CommandError::AlreadyJoined);
        }
        Arc::make_mut(&mut self.own).app_version = version;
        match self.postponed.take().and_then(|it| it.seeds) {
            Some(seeds) => self.begin_to_join(cx, &seeds),
            None => Ok(()),
        }
    }
}
