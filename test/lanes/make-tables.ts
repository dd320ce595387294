// Makes the tables for engines that we didn't write. Usage: make-tables FOLDER; see table-set.ts.
import { makeTableSet } from "./table-set";

makeTableSet(process.argv[2]).then(
  (tables) => {
    for (const { name, rows, vectors } of tables) console.log(`${name}: ${rows} rows, ${vectors} files with vectors`);
    process.exit(0);
  },
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
