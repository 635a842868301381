//! The auction site that the events come from: which event has which number, who is active and what is hot at that
//! moment. Every value follows from the event's number and the seed alone, so any event can be made first.

use crate::random;

/// Ids begin here, so that even a few events give matches.
pub const FIRST_ID: i64 = 1000;
/// One person, auction or bidder of so many in a row is hot.
const HOT_BATCH: i64 = 100;
/// Ids that do not exist yet may be referred to this far ahead, as if two events had changed places.
const ID_LEAD: i64 = 10;
/// Spreads the places of an out-of-order group; a prime, so it reaches every place unless it divides the group's size.
pub const GROUP_STRIDE: u64 = 953;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    /// The value of `event_type`.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// The settings of a table, resolved.
#[derive(Debug, Clone)]
pub struct Site {
    pub seed: u64,
    /// Events in all; `u64::MAX` where nothing ends them.
    pub events: u64,
    /// Per second of event time.
    pub rate: u64,
    /// Time of the first event, in epoch milliseconds.
    pub base_ms: i64,
    /// Events of each kind in a round: first persons, then auctions, then bids.
    pub persons: u64,
    pub auctions: u64,
    pub bids: u64,
    /// Of n references to an auction (bidder, seller), n - 1 are to the hot one.
    pub hot_auctions: u64,
    pub hot_bidders: u64,
    pub hot_sellers: u64,
    /// The last so many auctions may get bids.
    pub auctions_in_flight: u64,
    /// The last so many persons may bid and sell.
    pub persons_active: u64,
    /// Sizes to aim for, in bytes; the `extra` column fills them up.
    pub person_bytes: u64,
    pub auction_bytes: u64,
    pub bid_bytes: u64,
    /// Events change places within groups of so many; 1 leaves them in order.
    pub out_of_order: u64,
}

/// The random words of one column: a word per event.
#[derive(Debug, Clone, Copy)]
pub struct Draw(u64);

impl Draw {
    pub fn of(self, event: u64) -> u64 {
        random::word(self.0, event)
    }
}

impl Site {
    /// Events of a round.
    pub fn round(&self) -> u64 {
        self.persons + self.auctions + self.bids
    }

    /// `what` names the column, so that columns do not depend on each other.
    pub fn draw(&self, what: &str) -> Draw {
        Draw(random::column_seed(self.seed, what))
    }

    pub fn kind(&self, event: u64) -> Kind {
        let offset = event % self.round();
        if offset < self.persons {
            Kind::Person
        } else if offset < self.persons + self.auctions {
            Kind::Auction
        } else {
            Kind::Bid
        }
    }

    /// The event that comes at this place. Groups are permuted as a whole; the last one, where the end cuts it, is not.
    pub fn event_at(&self, place: u64) -> u64 {
        let group = self.out_of_order;
        let first = place / group * group;
        if group == 1 || first.checked_add(group).is_none_or(|end| end > self.events) {
            return place;
        }
        first + (place - first) * GROUP_STRIDE % group
    }

    /// Epoch milliseconds of an event.
    pub fn time(&self, event: u64) -> i64 {
        let since = u128::from(event) * 1000 / u128::from(self.rate);
        self.base_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }

    /// The newest person when this event happens, counted from 0.
    pub fn last_person(&self, event: u64) -> i64 {
        let (round, offset) = (event / self.round(), event % self.round());
        (round * self.persons + offset.min(self.persons - 1)) as i64
    }

    /// The newest auction when this event happens, counted from 0; -1 before the first.
    pub fn last_auction(&self, event: u64) -> i64 {
        let (round, offset) = (event / self.round(), event % self.round());
        let of_this_round = (offset + 1).saturating_sub(self.persons).min(self.auctions);
        (round * self.auctions + of_this_round) as i64 - 1
    }

    /// A person who may bid or sell now, counted from 0.
    pub fn active_person(&self, word: u64, event: u64) -> i64 {
        let persons = self.last_person(event) + 1;
        let active = persons.min(self.persons_active as i64);
        persons - active + random::below(word, (active + ID_LEAD) as u64) as i64
    }

    /// An auction that may get bids now, counted from 0.
    pub fn open_auction(&self, word: u64, event: u64) -> i64 {
        let last = self.last_auction(event);
        let first = (last - self.auctions_in_flight as i64).max(0);
        first + random::below(word, (last - first + 1 + ID_LEAD) as u64) as i64
    }

    /// The auction that most bids go to now.
    pub fn hot_auction(&self, event: u64) -> i64 {
        self.last_auction(event) / HOT_BATCH * HOT_BATCH
    }

    /// The person who sells most now.
    pub fn hot_seller(&self, event: u64) -> i64 {
        self.last_person(event) / HOT_BATCH * HOT_BATCH
    }

    /// The person who bids most now: not the one who sells most.
    pub fn hot_bidder(&self, event: u64) -> i64 {
        self.hot_seller(event) + 1
    }

    /// Length of an auction in milliseconds: on average until as many newer ones are open as may be.
    pub fn auction_length(&self, word: u64, event: u64) -> i64 {
        let ahead = self.auctions_in_flight * self.round() / self.auctions;
        let horizon_ms = self.time(event.saturating_add(ahead)) - self.time(event);
        1 + random::below(word, (horizon_ms * 2).max(1) as u64) as i64
    }
}

/// True in n - 1 of n cases.
pub fn is_hot(word: u64, ratio: u64) -> bool {
    random::below(word, ratio) > 0
}

/// A price in cents between 1 and 1,000,000 dollars whose logarithm is evenly spread.
pub fn price(word: u64) -> i64 {
    /// log2(10^6): the exponent of 2 runs from 0 to here.
    const EXPONENT_MAX: f64 = 19.931_568_569_324_174;
    let exponent = random::unit(word) * EXPONENT_MAX;
    let whole = exponent as u32;
    (f64::from(1u32 << whole) * exp2_of_fraction(exponent - f64::from(whole)) * 100.0).round() as i64
}

/// 2^x for x between 0 and 1, by the first terms of its series: additions and products only, so that every machine
/// gives the same bits, which the C library's `pow` does not promise.
fn exp2_of_fraction(x: f64) -> f64 {
    let y = x * std::f64::consts::LN_2;
    const TERMS: u32 = 14;
    (1..=TERMS).rev().fold(1.0, |sum, n| 1.0 + sum * y / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_powers_of_ten() {
        assert_eq!(price(0), 100);
        assert_eq!(price(1 << 63), 100_000, "half of the words are below 1,000 dollars");
        assert_eq!(price(u64::MAX), 100_000_000);
        for x in [0.0, 0.1, 0.5, 0.999] {
            assert!((exp2_of_fraction(x) - x.exp2()).abs() < 1e-12, "2^{x}");
        }
    }
}
