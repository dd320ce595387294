/** Tables whose staged form has all that versions may differ in: keys, TOAST, no key, types, changes of schema, TRUNCATE. */
export const upgradeSetup = [
  `CREATE TABLE item (id int PRIMARY KEY, name text, amount numeric(12, 2), at timestamptz, tags text[], body text);
   CREATE TABLE entry (who text, what jsonb, day date);
   ALTER TABLE entry REPLICA IDENTITY FULL;
   CREATE TABLE scratch (id bigint PRIMARY KEY, note text)`,
  `INSERT INTO item
     SELECT n, 'name ' || n, n * 1.25, timestamptz '2026-01-01 00:00:00+00' + n * interval '1 hour',
            ARRAY['a', 'b' || n], repeat(md5(n::text), 100)
       FROM generate_series(1, 40) n`,
  `INSERT INTO entry SELECT 'who ' || n % 7, jsonb_build_object('n', n), date '2026-02-01' + n FROM generate_series(1, 20) n`,
  "INSERT INTO scratch SELECT n, NULL FROM generate_series(1, 10) n",
];

export const upgradeTables = ["item", "entry", "scratch"];

/** Of the n-th part of a history; the first is before any upgrade. */
export function upgradeChanges(part: number): string[] {
  const id = 1_000 * part;
  return [
    `INSERT INTO item (id, name, tags) SELECT n, 'later', '{}' FROM generate_series(${id}, ${id + 9}) n`,
    `UPDATE item SET amount = coalesce(amount, 0) + ${part}, at = NULL WHERE id % 5 = ${part % 5}`,
    `UPDATE item SET id = id + 500 WHERE id = ${id + 3}`,
    `DELETE FROM item WHERE id % 11 = ${part}`,
    `UPDATE entry SET what = what || '{"part": ${part}}' WHERE who = 'who ${part}'`,
    `DELETE FROM entry WHERE day = date '2026-02-0${part + 1}'`,
    "TRUNCATE scratch",
    `ALTER TABLE scratch ADD COLUMN part_${part} int DEFAULT ${part}`,
    `INSERT INTO scratch (id, note) SELECT n, 'part ${part}' FROM generate_series(1, 5) n`,
  ];
}
