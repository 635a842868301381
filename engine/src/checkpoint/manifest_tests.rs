//! The manifest format: what is written is read back, and nothing else is.

use super::*;
use crate::sink::Committable;
use serde_json::json;

/// A manifest of `epoch` whose one instance has tables with these content hashes, 10 bytes each.
pub(in crate::checkpoint) fn manifest_with_files(epoch: u64, hashes: &[u128]) -> Manifest {
    let table = |(index, hash): (usize, &u128)| FileEntry {
        name: format!("{index:06}.sst"),
        object: FileEntry::shared_object(ContentHash(*hash), 10),
        offset: 0,
        length: 10,
        hash: ContentHash(*hash),
    };
    let mut manifest = manifest(epoch);
    manifest.operators[0].files = hashes.iter().enumerate().map(table).collect();
    manifest
}

/// A manifest with something in every field.
pub(in crate::checkpoint) fn manifest(epoch: u64) -> Manifest {
    let split = Split { id: "a.json".into(), payload: json!({"path": "/in/a.json", "bytes": 12}) };
    let position = Some(json!({"offset": 18446744073709551615u64}));
    let counts = SplitCounts { given: 7, rejected: 1 };
    let split = SplitState { split, position, finished: false, watermark: EventTime(1_000), counts };
    let prepared = Prepared { committables: vec![Committable(json!("part-1"))], state: Some(json!([1, 2.5, null])) };
    let pack =
        FileEntry { name: "CURRENT".into(), object: PACK_NAME.into(), offset: 0, length: 16, hash: ContentHash(7) };
    Manifest {
        format: FORMAT,
        job_id: "8c1f".into(),
        job_name: "täglich \"x\"".into(),
        epoch: Epoch(epoch),
        attempt: 3,
        finished: false,
        max_parallelism: 128,
        created_at_ms: 1_790_000_000_000,
        nodes: vec![NodeFingerprint {
            uid: "agg".into(),
            name: "WindowAggregate".into(),
            signature: Some("sum".into()),
        }],
        sources: vec![SourceState { uid: "in".into(), splits: vec![split], watermark: EventTime::MIN }],
        operators: vec![InstanceEntry {
            uid: "agg".into(),
            subtask: 0,
            parallelism: 1,
            key_groups: KeyGroupRange::all(128),
            notes: vec![Note(vec![0, 255, 16]), Note(Vec::new())],
            files: vec![pack],
        }],
        sinks: vec![SinkEntry { uid: "out".into(), subtask: 0, prepared }],
        counts: vec![NodeCounts { uid: "agg".into(), counts: Counts { late: 2, ..Counts::default() } }],
    }
}

#[test]
fn a_manifest_is_read_back_as_it_was_written() {
    for manifest in [manifest(1), manifest_with_files(2, &[]), manifest_with_files(3, &[0, u128::MAX])] {
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(Path::new("M"), &bytes).unwrap(), manifest);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_damage() {
    let sound = manifest(1).encode().unwrap();
    let is_damage =
        |bytes: &[u8]| matches!(Manifest::decode(Path::new("M"), bytes), Err(EngineError::DamagedCheckpoint { .. }));
    for index in 0..sound.len() {
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[index] ^= 1 << bit;
            assert!(is_damage(&bytes), "bit {bit} of byte {index} was flipped unnoticed");
        }
        assert!(is_damage(&sound[..index]), "cut to {index} bytes unnoticed");
    }
    let longer = [sound.as_slice(), b" "].concat();
    assert!(is_damage(&longer));
}

#[test]
fn sealed_nonsense_is_damage_and_never_a_panic() {
    type Edit = (&'static str, fn(&mut Manifest));
    let edits: [Edit; 11] = [
        ("epoch 0", |m| m.epoch = Epoch::ZERO),
        ("no key groups", |m| m.max_parallelism = 0),
        ("other key groups", |m| m.max_parallelism = 64),
        ("groups beyond", |m| m.operators[0].key_groups.end = 129),
        ("path out of the folder", |m| m.operators[0].files[0].name = "../x".into()),
        ("object out of the folder", |m| m.operators[0].files[0].object = "shared/../../x".into()),
        ("end beyond all numbers", |m| m.operators[0].files[0].offset = u64::MAX),
        ("a missing instance", |m| m.operators[0].parallelism = 2),
        ("an instance twice", |m| m.operators.push(m.operators[0].clone())),
        ("key groups without an owner", |m| m.operators[0].key_groups.end = 127),
        ("another format", |m| m.format = FORMAT + 1),
    ];
    for (what, edit) in edits {
        let mut manifest = manifest(1);
        edit(&mut manifest);
        let body = serde_json::to_vec(&manifest).unwrap();
        let bytes = sealed::seal(MAGIC, FORMAT, &body);
        let decoded = Manifest::decode(Path::new("M"), &bytes);
        assert!(matches!(decoded, Err(EngineError::DamagedCheckpoint { .. })), "{what}: {decoded:?}");
    }
}
