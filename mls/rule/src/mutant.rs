//! Defences that can be switched off one by one, so that the simulator can
//! show that it would notice: a check that has never failed proves nothing.
//!
//! Without the feature `mutants`, which only the simulator sets, [`on`] is a
//! constant and nothing of this is in a program.

/// A defence that is missing. Each is asked for at the place where the product
/// decides, and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mutant {
    /// Fork choice: a branch on which nobody stands counts like any other.
    IgnoreLive,
    /// Fork choice: a majority is nothing special.
    IgnoreMajority,
    /// Fork choice: open orders do not count.
    IgnoreOrders,
    /// Fork choice: votes do not count.
    IgnoreVotes,
    /// Fork choice: roles and ranks do not count.
    IgnoreRank,
    /// Fork choice: of one author's commits the highest id wins.
    HighestId,
    /// Who may vote: an account's votes are those of its highest leaf.
    HighestLeafVotes,
    /// Who may vote: a voter may vote again, and the last word counts.
    LastVoteCounts,
    /// Who may vote: who signed two objects under one number goes on voting.
    NoMute,
    /// Who may vote: marks beyond a cut count.
    VotesBeyondCut,
    /// Who may vote: whoever is to go is out of every electorate.
    TargetsNeverVote,
    /// Removals: an order counts even if its issuer had been removed before.
    OrdersBeyondCut,
    /// Removals: an order holds only on the branch that carries it out.
    OrdersLapse,
    /// Removals: anybody may order anybody out.
    AnybodyOrders,
    /// Removals: an order may refer to a state that its device has left.
    Backdated,
    /// A commit that most cannot process stays a candidate.
    NeverReject,
    /// A mark that comes after a later one of its device is not counted.
    LateMarksDropped,
    /// Validity: a commit may remove anybody without an order.
    RemoveWithoutOrder,
    /// Validity: anybody may give any role.
    AnybodyAppoints,
    /// Validity: a commit's envelope may be signed by anybody.
    UnsignedEnvelope,
    /// Validity: a commit's path may bring another identity to its leaf.
    SeatChanges,
    /// Validity: a request to come back may be used again.
    ReplayedRequest,
    /// A member takes a Welcome into any state.
    AnyWelcome,
    /// A message is sent on a state that still holds somebody who is to go.
    SendOnTainted,
    /// The keys' progress is not stored when a message is encrypted.
    ImageRewound,
    /// A state that is entered again begins with its first keys.
    KeysForgotten,
    /// What is to be sent leaves before it is stored.
    SendBeforeStored,
    /// Messages of a branch that lost are not sent again.
    NothingResent,
    /// A device that cannot follow does not ask to be let in.
    NeverAskBack,
    /// Objects that wait for a state are kept without bound.
    OrphansUnbounded,
    /// A device that was put back to an earlier copy speaks on.
    OlderCopySpeaks,
    /// An attacker's tool: own commits are not checked by the rules.
    Unchecked,
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use core::cell::Cell;

    std::thread_local! {
        static ON: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether this defence is missing in this thread.
    #[must_use]
    pub fn on(mutant: Mutant) -> bool {
        ON.get() & (1 << mutant as u8) != 0
    }

    /// Switches exactly these on in this thread, and answers what was on.
    pub fn set(mutants: &[Mutant]) -> Vec<Mutant> {
        let before = Mutant::ALL.iter().copied().filter(|m| on(*m)).collect();
        ON.set(mutants.iter().map(|m| 1 << *m as u8).sum());
        before
    }

    impl Mutant {
        /// All of them.
        pub const ALL: &'static [Self] = &[
            Self::IgnoreLive,
            Self::IgnoreMajority,
            Self::IgnoreOrders,
            Self::IgnoreVotes,
            Self::IgnoreRank,
            Self::HighestId,
            Self::HighestLeafVotes,
            Self::LastVoteCounts,
            Self::NoMute,
            Self::VotesBeyondCut,
            Self::TargetsNeverVote,
            Self::OrdersBeyondCut,
            Self::OrdersLapse,
            Self::AnybodyOrders,
            Self::Backdated,
            Self::NeverReject,
            Self::LateMarksDropped,
            Self::RemoveWithoutOrder,
            Self::AnybodyAppoints,
            Self::UnsignedEnvelope,
            Self::SeatChanges,
            Self::ReplayedRequest,
            Self::AnyWelcome,
            Self::SendOnTainted,
            Self::ImageRewound,
            Self::KeysForgotten,
            Self::SendBeforeStored,
            Self::NothingResent,
            Self::NeverAskBack,
            Self::OrphansUnbounded,
            Self::OlderCopySpeaks,
            Self::Unchecked,
        ];
    }
}

#[cfg(feature = "mutants")]
pub use switch::{on, set};

/// Whether this defence is missing: never.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub const fn on(_: Mutant) -> bool {
    false
}
