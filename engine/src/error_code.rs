//! What error frames say of a question, and what its asker is told.

use std::time::Duration;

use ringmesh_proto::frame::body::ErrorCode;

use crate::error::{AskError, AskPhase, Executed};

impl AskError {
    /// What the peer's error frame says.
    pub(crate) fn from_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NotRunning => Self::NotRunning,
            ErrorCode::UnknownMessage => Self::UnknownMessage,
            ErrorCode::SchemaMismatch => Self::SchemaMismatch,
            ErrorCode::Overloaded => Self::Overloaded,
            ErrorCode::TooLarge => Self::ReplyTooLarge,
            ErrorCode::Stopping => Self::Stopping,
            ErrorCode::Expired => Self::Timeout {
                // The asker knows it.
                after: Duration::ZERO,
                phase: AskPhase::Waiting,
            },
            ErrorCode::Late => Self::Timeout {
                after: Duration::ZERO,
                phase: AskPhase::Sent,
            },
            _ => Self::Failed,
        }
    }

    /// What an asker is told whose question was passed on, and came to this.
    pub(crate) fn to_code(&self) -> ErrorCode {
        match self {
            Self::UnknownMessage => ErrorCode::UnknownMessage,
            Self::SchemaMismatch => ErrorCode::SchemaMismatch,
            Self::Overloaded => ErrorCode::Overloaded,
            Self::ReplyTooLarge => ErrorCode::TooLarge,
            Self::Stopping => ErrorCode::Stopping,
            Self::Timeout {
                phase: AskPhase::Waiting,
                ..
            } => ErrorCode::Expired,
            Self::Timeout {
                phase: AskPhase::Sent,
                ..
            } => ErrorCode::Late,
            _ if self.executed() == Executed::No => ErrorCode::NotRunning,
            _ => ErrorCode::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_waited_too_long_at_its_recipient_was_not_executed() {
        let error = AskError::from_code(ErrorCode::Expired);
        let waited = AskPhase::Waiting;
        assert!(
            matches!(error, AskError::Timeout { phase, .. } if phase == waited),
            "{error:?}"
        );
        assert_eq!(error.executed(), Executed::No);
        assert!(error.to_string().contains("waited at the recipient"));
    }

    #[test]
    fn an_error_that_is_passed_on_says_of_the_execution_what_it_said() {
        for number in 0..=u32::from(u8::MAX) {
            let error = AskError::from_code(ErrorCode::from_wire(number));
            assert_eq!(AskError::from_code(error.to_code()), error);
        }
        let unreachable = |phase| AskError::Unreachable { phase };
        for error in [
            unreachable(AskPhase::Queued),
            unreachable(AskPhase::Sent),
            AskError::ReplyMismatch,
        ] {
            let told = AskError::from_code(error.to_code()).executed();
            let is_as_sure = told == error.executed() || told == Executed::Maybe;
            assert!(is_as_sure, "{error} became {told:?}");
        }
    }
}
