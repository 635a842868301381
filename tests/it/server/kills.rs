//! The server is killed again and again under many jobs, and while it is told to change them: every row is there once in the
//! end, and every change that was answered.
//!
//! `TIDEMILL_SERVER_KILLS` and `TIDEMILL_SERVER_JOBS` say how often and how many; the long form is 50 and 20.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::kit::{Server, copying_job};
use super::lane::Lane;
use super::mix::MixedJob;

const KILLS_DEFAULT: usize = 3;
const JOBS_DEFAULT: usize = 6;
/// Jobs that are changed while the server is killed.
const LANES: usize = 3;

fn setting(variable: &str, default: usize) -> usize {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: '{text}' is no number")))
}

fn differences(visible: &[String], expected: &[String]) -> String {
    let less = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).take(5).cloned().collect()
    };
    format!("too many {:?}, missing {:?}", less(visible, expected), less(expected, visible))
}

#[test]
fn every_job_of_every_kind_is_exact_after_the_server_was_killed() {
    let (kills, count) =
        (setting("TIDEMILL_SERVER_KILLS", KILLS_DEFAULT), setting("TIDEMILL_SERVER_JOBS", JOBS_DEFAULT));
    let mut server = Server::start(&[]);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut jobs: Vec<MixedJob> = (0..count).map(MixedJob::new).collect();
    for (number, job) in jobs.iter_mut().enumerate() {
        job.feed(&server, &mut rng);
        let parallelism = 1 + number % 2;
        let body = json!({ "name": job.name, "sql": job.sql(), "parallelism": parallelism });
        server.post("/api/v1/jobs", body).expect(201);
    }
    server.post("/api/v1/jobs", json!({ "name": "idle", "sql": copying_job("idle"), "start": false })).expect(201);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        jobs.iter_mut().for_each(|job| job.feed(&server, &mut rng));
        std::thread::sleep(Duration::from_millis(rng.random_range(20..1_500)));
        server.kill();
        let begun = Instant::now();
        server.go();
        server.wait_until("all jobs are resumed", || server.get("/readyz").status == 200);
        slowest = slowest.max(begun.elapsed());
    }
    let mut rows = 0;
    for job in &jobs {
        job.close(&server);
        let expected = job.expected();
        server.wait_until(&format!("{} has written all", job.name), || job.visible(&server).len() >= expected.len());
        server.wait_until(&format!("{}: {}", job.name, differences(&job.visible(&server), &expected)), || {
            job.visible(&server) == expected
        });
        // A row that was written twice would come out by now.
        server.post(&format!("/api/v1/jobs/{}/stop", job.name), json!({})).expect(200);
        assert_eq!(job.visible(&server), expected, "{}", job.name);
        rows += expected.len();
    }
    assert_eq!(server.phase("idle"), "stopped");
    println!("{kills} kills under {count} jobs: {rows} rows exact; all jobs resumed within {slowest:?}");

    // What was stopped stays so.
    server.kill();
    server.go();
    server.wait_until("it is ready", || server.get("/readyz").status == 200);
    jobs.iter().for_each(|job| assert_eq!(server.phase(&job.name), "stopped", "{}", job.name));
}

#[test]
fn a_change_that_was_answered_holds_and_none_is_half_done_after_a_kill() {
    let kills = setting("TIDEMILL_SERVER_KILLS", KILLS_DEFAULT).max(8);
    let mut server = Server::start(&[]);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut lanes: Vec<Lane> = (0..LANES).map(Lane::new).collect();
    for round in 0..kills {
        lanes.iter_mut().for_each(|lane| lane.feed(&server, round));
        let patience = Duration::from_millis(rng.random_range(30..1_500));
        std::thread::scope(|scope| {
            for lane in &mut lanes {
                let (server, seed) = (&server, rng.random());
                scope.spawn(move || lane.change_until_the_server_dies(server, &mut ChaCha8Rng::seed_from_u64(seed)));
            }
            std::thread::sleep(patience);
            server.strike();
        });
        server.kill();
        server.go();
        server.wait_until("it is ready", || server.get("/readyz").status == 200);
        lanes.iter_mut().for_each(|lane| lane.judge(&server));
        let mut known: Vec<String> = lanes.iter().filter_map(Lane::id).collect();
        known.sort();
        let mut folders: Vec<String> = std::fs::read_dir(server.path("data/jobs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        folders.sort();
        assert_eq!(folders, known, "nothing is left behind of jobs that are not there");
    }
    let (answered, cut_off) = lanes.iter().fold((0, 0), |sum, lane| (sum.0 + lane.answered, sum.1 + lane.cut_off));
    println!(
        "{kills} kills: {answered} changes were answered and hold, {cut_off} were cut off and are whole or not there"
    );
    assert!(answered > 0, "nothing was changed between the kills");
    lanes.iter_mut().for_each(|lane| lane.finish(&server));
}
