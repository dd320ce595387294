package sluice.test;

import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.SupportsRowLevelOperations;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.write.RowLevelOperationBuilder;
import org.apache.spark.sql.connector.write.RowLevelOperationInfo;
import org.apache.spark.sql.delta.catalog.DeltaCatalog;
import org.apache.spark.sql.delta.catalog.DeltaTableV2;

/**
 * Delta's catalog, whose tables say that they take a MERGE: Spark asks a table of AUTO CDC for the interface, which Delta's
 * lack, as Delta's own rules take every MERGE into its tables before Spark's would ask for such an operation.
 */
public class RowLevelDeltaCatalog extends DeltaCatalog {
  @Override
  public Table loadTable(Identifier name) {
    Table table = super.loadTable(name);
    return table instanceof DeltaTableV2 ? new RowLevelTable((DeltaTableV2) table) : table;
  }

  private static class RowLevelTable extends DeltaTableV2 implements SupportsRowLevelOperations {
    RowLevelTable(DeltaTableV2 table) {
      super(table.spark(), table.path(), table.catalogTable(), table.tableIdentifier(), table.timeTravelOpt(), table.options());
    }

    @Override
    public RowLevelOperationBuilder newRowLevelOperationBuilder(RowLevelOperationInfo info) {
      throw new UnsupportedOperationException("Delta carries out MERGE by itself");
    }
  }
}
