//! What goes into several channels, and what comes out as one sequence.

use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use expect_test::{Expect, expect};

use super::*;
use crate::Epoch;
use crate::element::BarrierKind;
use crate::runtime::tests::kit::record_batch;

const STOP: Barrier = Barrier { epoch: Epoch(7), kind: BarrierKind::Stop };

fn gate(channels: usize) -> (Vec<Sender<Element>>, Gate) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..channels)
        .map(|input| {
            let (sender, receiver) = unbounded();
            (sender, (input, receiver))
        })
        .unzip();
    (senders, Gate::new(receivers))
}

fn show(event: GateEvent) -> String {
    match event {
        GateEvent::Batch { input, batch } => format!("rows {} of {input}", batch.num_rows()),
        GateEvent::Watermark(EventTime(ms)) if ms < i64::MAX => format!("time {ms}"),
        GateEvent::Watermark(_) => "last time".into(),
        GateEvent::Barrier(barrier) => format!("barrier {}", barrier.epoch),
        GateEvent::Idle => "idle".into(),
        GateEvent::End => "end".into(),
        GateEvent::Timeout => "timeout".into(),
    }
}

/// Sends each element to its channel and shows what follows from it.
fn check(channels: usize, script: Vec<(usize, Element)>, expected: Expect) {
    let (senders, mut gate) = gate(channels);
    let mut lines = Vec::new();
    for (channel, element) in script {
        senders[channel].send(element).unwrap();
        loop {
            match gate.next(Duration::ZERO).unwrap() {
                GateEvent::Timeout => break,
                event => lines.push(show(event)),
            }
        }
        lines.push("-".into());
    }
    expected.assert_eq(&lines.join(" "));
}

fn time(ms: i64) -> Element {
    Element::Watermark(EventTime(ms))
}

const LAST: Element = Element::Watermark(EventTime::MAX);

fn rows(count: usize) -> Element {
    Element::Batch(Batch::new(record_batch(&vec![(1, 1); count])))
}

#[test]
fn time_is_the_minimum_and_never_goes_back() {
    let script = vec![(0, time(5)), (1, time(3)), (1, time(9)), (0, time(2)), (0, time(7))];
    check(2, script, expect!["- time 3 - time 5 - - time 7 -"]);
}

#[test]
fn idle_inputs_hold_nothing_back_until_they_tell_time_again() {
    let script = vec![(0, time(5)), (1, Element::Idle), (1, rows(1)), (0, time(8)), (1, time(6)), (0, time(9))];
    check(2, script, expect!["- time 5 - rows 1 of 1 - time 8 - - -"]);
}

#[test]
fn an_input_that_was_idle_is_heard_before_another_lets_time_go_on() {
    let (senders, mut gate) = gate(2);
    let mut shown = |script: Vec<(usize, Element)>| {
        script.into_iter().for_each(|(channel, element)| senders[channel].send(element).unwrap());
        let mut next = || Some(gate.next(Duration::ZERO).unwrap()).filter(|event| !matches!(event, GateEvent::Timeout));
        std::iter::from_fn(|| next().map(show)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown(vec![(0, time(5)), (1, time(6)), (1, Element::Idle)]), "time 5");
    let back = vec![(1, rows(1)), (1, time(7)), (0, time(20)), (1, rows(2)), (1, time(8))];
    assert_eq!(shown(back), "rows 1 of 1, time 7, rows 2 of 1, time 8", "whichever channel is looked at first");
    assert_eq!(shown(vec![(0, Element::Idle), (1, Element::Idle)]), "time 20, idle");
    assert_eq!(shown(vec![(1, time(9)), (0, time(30))]), "time 20", "neither is idle any more, and 9 holds");
}

#[test]
fn when_all_are_idle_the_furthest_tells_the_time() {
    let script = vec![(0, time(5)), (1, time(9)), (1, Element::Idle), (0, Element::Idle), (0, time(6)), (1, time(11))];
    check(2, script, expect!["- time 5 - - time 9 idle - time 9 - -"]);
}

#[test]
fn an_input_at_its_end_is_not_an_idle_one() {
    let silent_first = vec![(0, time(1)), (0, Element::Idle), (1, time(9)), (1, LAST), (1, Element::End)];
    check(2, silent_first, expect!["- - time 9 - idle - -"]);
    let ended_first = vec![(0, time(1)), (1, time(9)), (1, LAST), (1, Element::End), (0, Element::Idle)];
    check(2, ended_first, expect!["- time 1 - - - time 9 idle -"]);
}

#[test]
fn the_end_comes_when_all_inputs_ended() {
    let script = vec![(0, LAST), (0, Element::End), (1, rows(2)), (1, LAST), (1, Element::End)];
    check(2, script, expect!["- - rows 2 of 1 - last time - end -"]);
}

#[test]
fn behind_its_barrier_an_input_waits_for_the_others_even_for_ended_ones() {
    let (senders, mut gate) = gate(3);
    let mut next = || show(gate.next(Duration::ZERO).unwrap());
    senders[0].send(Element::Barrier(STOP)).unwrap();
    senders[0].send(rows(1)).unwrap();
    senders[1].send(LAST).unwrap();
    senders[1].send(Element::End).unwrap();
    senders[1].send(Element::Barrier(STOP)).unwrap();
    senders[2].send(rows(2)).unwrap();
    assert_eq!([next(), next()], ["rows 2 of 2", "timeout"]);
    senders[2].send(Element::Barrier(STOP)).unwrap();
    assert_eq!([next(), next(), next()], ["barrier 7", "rows 1 of 0", "timeout"]);
}

#[test]
fn a_sender_that_is_gone_means_cancellation() {
    let (mut senders, mut gate) = gate(2);
    senders.pop();
    assert!(matches!(gate.next(Duration::from_secs(9)), Err(EngineError::Cancelled)));
}

/// The operator's time follows those that are not idle; what an input itself has said waits for it.
#[test]
fn an_idle_input_is_not_told_to_be_further_than_it_said() {
    let (senders, mut gate) = gate(2);
    let mut step = |elements: &[(usize, Element)]| {
        for (channel, element) in elements {
            senders[*channel].send(element.clone()).unwrap();
        }
        let mut events = Vec::new();
        loop {
            match gate.next(Duration::ZERO).unwrap() {
                GateEvent::Timeout => break,
                event => events.push(format!(
                    "{} at {:?}",
                    show(event),
                    gate.input_watermarks().iter().map(|time| time.0).collect::<Vec<_>>()
                )),
            }
        }
        (events.join(", "), gate.input_watermarks().to_vec())
    };
    let told = |first, second| vec![EventTime(first), EventTime(second)];
    assert_eq!(step(&[(0, time(5)), (1, time(3))]).1, told(5, 3));
    let (events, watermarks) = step(&[(1, Element::Idle), (0, time(9))]);
    assert!(events.contains("time 9"), "{events}");
    assert_eq!(watermarks, told(9, 3));
    // Rows that stand before a watermark are given before it counts.
    let (events, watermarks) = step(&[(0, time(20)), (1, rows(2)), (1, time(12))]);
    let rows_at = events.split(", r").nth(1).unwrap_or(&events).to_string();
    assert!(rows_at.contains(", 3]"), "{events}");
    assert_eq!(watermarks, told(20, 12));
    assert_eq!(step(&[(0, LAST)]).1, told(i64::MAX, 12));
}
