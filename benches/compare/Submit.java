// Plans SQL and has it run on the Flink cluster that the settings name: reads names of files from standard input, runs
// the statements of each, which stand apart by lines of `--next--`, waits for the end of their job, and prints one line:
// `done`, or `failed: ` and the reason. Usage: java -cp 'FOLDER:lib/*' Submit KEY=VALUE ...

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

public class Submit {
    public static void main(String[] settings) throws Exception {
        Configuration cluster = new Configuration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            cluster.setString(pair[0], pair[1]);
        }
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            System.out.println(outcome(cluster, Path.of(name)));
            System.out.flush();
        }
    }

    private static String outcome(Configuration cluster, Path file) {
        try {
            TableEnvironment tables = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(cluster).build());
            for (String statement : Files.readString(file).split("--next--")) {
                if (!statement.isBlank()) {
                    var result = tables.executeSql(statement.strip());
                    if (result.getJobClient().isPresent()) {
                        result.await();
                    }
                }
            }
            return "done";
        } catch (Exception problem) {
            Throwable cause = problem;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return "failed: " + String.valueOf(cause).replace('\n', ' ');
        }
    }
}
