//! What a person, an auction and a bid consist of: one list of fields each, with how a batch of values is made.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, TimeUnit};
use tidemill_engine::Result;

use super::channels::Channels;
use super::site::{FIRST_ID, Kind, Site, is_hot, price};
use super::texts::Texts;
use crate::random;

/// Numbers of categories: the first one, and how many there are.
const CATEGORIES: (i64, u64) = (10, 5);
const STATES: &[&str] = &["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: &[&str] =
    &["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: &[&str] =
    &["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: &[&str] = &["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// Events of a batch.
pub struct Events<'a> {
    pub numbers: &'a [u64],
    /// Which of them have a value; `None`: all.
    pub present: Option<NullBuffer>,
}

/// Makes a batch of values of one field.
#[derive(Debug, Clone, Copy)]
pub enum Make {
    Number(fn(&Site, &Events) -> Vec<i64>),
    /// Epoch milliseconds.
    Time(fn(&Site, &Events) -> Vec<i64>),
    Text(fn(&Site, &Channels, &Events) -> Texts),
}

/// A field of a person, an auction or a bid.
#[derive(Debug, Clone, Copy)]
pub struct FieldDef {
    pub name: &'static str,
    pub make: Make,
}

impl FieldDef {
    pub fn data_type(&self) -> DataType {
        match self.make {
            Make::Number(_) => DataType::Int64,
            Make::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, None),
            Make::Text(_) => DataType::Utf8,
        }
    }

    /// The values for these events; `nullable` says whether events without a value may show it.
    pub fn values(&self, site: &Site, channels: &Channels, events: &Events, nullable: bool) -> Result<ArrayRef> {
        let nulls = events.present.clone().filter(|_| nullable);
        match self.make {
            Make::Number(make) => Ok(Arc::new(Int64Array::new(make(site, events).into(), nulls))),
            Make::Time(make) => Ok(Arc::new(TimestampMillisecondArray::new(make(site, events).into(), nulls))),
            Make::Text(make) => make(site, channels, events).finish(nulls),
        }
    }
}

/// The fields of an event.
pub fn fields(kind: Kind) -> &'static [FieldDef] {
    match kind {
        Kind::Person => PERSON,
        Kind::Auction => AUCTION,
        Kind::Bid => BID,
    }
}

const fn number(name: &'static str, make: fn(&Site, &Events) -> Vec<i64>) -> FieldDef {
    FieldDef { name, make: Make::Number(make) }
}

const fn time(name: &'static str, make: fn(&Site, &Events) -> Vec<i64>) -> FieldDef {
    FieldDef { name, make: Make::Time(make) }
}

const fn text(name: &'static str, make: fn(&Site, &Channels, &Events) -> Texts) -> FieldDef {
    FieldDef { name, make: Make::Text(make) }
}

const PERSON: &[FieldDef] = &[
    number("id", |site, events| events.numbers(|event| FIRST_ID + site.last_person(event))),
    text("name", |site, _, events| {
        let draw = site.draw("person.name");
        events.texts(|event, out| push_name(draw.of(event), out))
    }),
    text("emailAddress", |site, _, events| {
        let draw = site.draw("person.emailAddress");
        events.texts(|event, out| push_address(draw.of(event), out))
    }),
    text("creditCard", |site, _, events| {
        let draw = site.draw("person.creditCard");
        events.texts(|event, out| push_card(draw.of(event), out))
    }),
    text("city", |site, _, events| {
        let draw = site.draw("person.city");
        events.texts(|event, out| out.push(one_of(CITIES, draw.of(event))))
    }),
    text("state", |site, _, events| {
        let draw = site.draw("person.state");
        events.texts(|event, out| out.push(one_of(STATES, draw.of(event))))
    }),
    time("dateTime", times),
    text("extra", |site, _, events| {
        /// Of a person without `extra`, on average.
        const BYTES: u64 = 65;
        let draw = site.draw("person.extra");
        events.texts(|event, out| out.filler(draw.of(event), BYTES, site.person_bytes))
    }),
];

const AUCTION: &[FieldDef] = &[
    number("id", |site, events| events.numbers(|event| FIRST_ID + site.last_auction(event))),
    text("itemName", |site, _, events| {
        let draw = site.draw("auction.itemName");
        events.texts(|event, out| out.phrase(draw.of(event), 20, b' '))
    }),
    text("description", |site, _, events| {
        let draw = site.draw("auction.description");
        events.texts(|event, out| out.phrase(draw.of(event), 100, b' '))
    }),
    number("initialBid", |site, events| {
        let draw = site.draw("auction.initialBid");
        events.numbers(|event| price(draw.of(event)))
    }),
    number("reserve", |site, events| {
        let (initial, above) = (site.draw("auction.initialBid"), site.draw("auction.reserve"));
        events.numbers(|event| price(initial.of(event)) + price(above.of(event)))
    }),
    time("dateTime", times),
    time("expires", |site, events| {
        let draw = site.draw("auction.expires");
        events.numbers(|event| site.time(event).saturating_add(site.auction_length(draw.of(event), event)))
    }),
    number("seller", |site, events| {
        let draw = site.draw("auction.seller");
        events.numbers(|event| seller(site, draw.of(event), event))
    }),
    number("category", |site, events| {
        let draw = site.draw("auction.category");
        let (first, count) = CATEGORIES;
        events.numbers(|event| first + random::below(draw.of(event), count) as i64)
    }),
    text("extra", |site, _, events| {
        /// Of an auction without `extra`, on average.
        const BYTES: u64 = 110;
        let draw = site.draw("auction.extra");
        events.texts(|event, out| out.filler(draw.of(event), BYTES, site.auction_bytes))
    }),
];

const BID: &[FieldDef] = &[
    number("auction", |site, events| {
        let draw = site.draw("bid.auction");
        events.numbers(|event| auction_bid_for(site, draw.of(event), event))
    }),
    number("bidder", |site, events| {
        let draw = site.draw("bid.bidder");
        events.numbers(|event| bidder(site, draw.of(event), event))
    }),
    number("price", |site, events| {
        let draw = site.draw("bid.price");
        events.numbers(|event| price(draw.of(event)))
    }),
    text("channel", |site, channels, events| {
        let draw = site.draw("bid.channel");
        events.texts(|event, out| out.push(channels.name(draw.of(event))))
    }),
    text("url", |site, channels, events| {
        let draw = site.draw("bid.channel");
        events.texts(|event, out| out.push(channels.url(draw.of(event))))
    }),
    time("dateTime", times),
    text("extra", |site, _, events| {
        /// Of a bid without `channel`, `url` and `extra`.
        const BYTES: u64 = 32;
        let draw = site.draw("bid.extra");
        events.texts(|event, out| out.filler(draw.of(event), BYTES, site.bid_bytes))
    }),
];

impl Events<'_> {
    fn numbers(&self, value: impl Fn(u64) -> i64) -> Vec<i64> {
        match &self.present {
            None => self.numbers.iter().map(|event| value(*event)).collect(),
            Some(present) => {
                let rows = self.numbers.iter().zip(present.iter());
                rows.map(|(event, present)| if present { value(*event) } else { 0 }).collect()
            }
        }
    }

    fn texts(&self, write: impl Fn(u64, &mut Texts)) -> Texts {
        let mut out = Texts::with_capacity(self.numbers.len());
        for (row, event) in self.numbers.iter().enumerate() {
            if self.present.as_ref().is_none_or(|present| present.is_valid(row)) {
                write(*event, &mut out);
            }
            out.end();
        }
        out
    }
}

fn times(site: &Site, events: &Events) -> Vec<i64> {
    events.numbers(|event| site.time(event))
}

fn seller(site: &Site, word: u64, event: u64) -> i64 {
    let hot = is_hot(word, site.hot_sellers);
    FIRST_ID + if hot { site.hot_seller(event) } else { site.active_person(random::nth(word, 0), event) }
}

fn auction_bid_for(site: &Site, word: u64, event: u64) -> i64 {
    let hot = is_hot(word, site.hot_auctions);
    FIRST_ID + if hot { site.hot_auction(event) } else { site.open_auction(random::nth(word, 0), event) }
}

fn bidder(site: &Site, word: u64, event: u64) -> i64 {
    let hot = is_hot(word, site.hot_bidders);
    FIRST_ID + if hot { site.hot_bidder(event) } else { site.active_person(random::nth(word, 0), event) }
}

fn one_of(list: &'static [&'static str], word: u64) -> &'static str {
    list[random::below(word, list.len() as u64) as usize]
}

fn push_name(word: u64, out: &mut Texts) {
    out.push(one_of(FIRST_NAMES, word));
    out.push(" ");
    out.push(one_of(LAST_NAMES, random::nth(word, 0)));
}

fn push_address(word: u64, out: &mut Texts) {
    out.phrase(random::nth(word, 0), 7, b'.');
    out.push("@");
    out.phrase(random::nth(word, 1), 5, b'-');
    out.push(".com");
}

fn push_card(word: u64, out: &mut Texts) {
    for group in 0..4 {
        if group > 0 {
            out.push(" ");
        }
        out.digits(random::nth(word, group));
    }
}
