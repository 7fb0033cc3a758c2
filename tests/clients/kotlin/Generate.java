import com.apollographql.apollo.compiler.CodegenOptions;
import com.apollographql.apollo.compiler.CodegenSchemaOptions;
import com.apollographql.apollo.compiler.EntryPoints;
import com.apollographql.apollo.compiler.IrOptions;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What Apollo's Gradle plugin does: Kotlin for operations, and their manifest. Arguments: schema, its extension, operations, directory. */
public final class Generate {
    public static void main(String[] given) throws IOException {
        Path directory = Path.of(given[3]);
        Map<String, String> scalars = Map.of(
                "scalarTypeMapping", "{\"DateTime\": \"kotlin.String\", \"Decimal\": \"kotlin.String\"}",
                "scalarAdapterMapping", "{}");
        Map<String, String> code = Map.of(
                "packageName", "\"tandem\"", "operationManifestFormat", "\"persistedQueryManifest\"");
        new EntryPoints().buildSources(
                Map.of(), 0, false,
                List.of("schema.graphql", new File(given[0]), "extra.graphqls", new File(given[1])),
                List.of("operations.graphql", new File(given[2])),
                options(directory, CodegenSchemaOptions.class, scalars),
                options(directory, CodegenOptions.class, code),
                options(directory, IrOptions.class, Map.of()),
                message -> System.err.println(message),
                directory.resolve("manifest.json").toFile(),
                directory.resolve("kotlin").toFile());
    }

    /** A file of options: the compiler wants every one named, and null is its default. */
    private static File options(Path directory, Class<?> type, Map<String, String> given) throws IOException {
        List<String> lines = new ArrayList<>();
        for (Field field : type.getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                lines.add("\"" + field.getName() + "\": " + given.getOrDefault(field.getName(), "null"));
            }
        }
        return Files.writeString(directory.resolve(type.getSimpleName() + ".json"), "{" + String.join(",", lines) + "}").toFile();
    }
}
