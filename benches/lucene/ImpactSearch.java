import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.analysis.tokenattributes.TermFrequencyAttribute;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.FeatureField;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.FieldType;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.FieldInvertState;
import org.apache.lucene.index.IndexOptions;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LogDocMergePolicy;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.CollectionStatistics;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.TermStatistics;
import org.apache.lucene.search.TopScoreDocCollectorManager;
import org.apache.lucene.search.similarities.Similarity;
import org.apache.lucene.store.MMapDirectory;

/**
 * Lucene on the vectors of the bench large_index, one segment, one thread.
 *
 * <p>java ImpactSearch build|search features|impacts VECTORS INDEX [K]
 *
 * <p>features: a FeatureField for each token, weights rounded to 9 significant bits, searched with linear queries, as
 * OpenSearch's rank_features are. impacts: weights times 100, rounded, as term frequencies, which are the scores, as
 * Anserini has them. Prints JSON lines.
 */
public final class ImpactSearch {
  private static final String FIELD = "v";
  private static final float IMPACTS_PER_UNIT = 100;

  public static void main(String[] arguments) throws IOException {
    boolean features = arguments[1].equals("features");
    Path vectors = Path.of(arguments[2]);
    Path index = Path.of(arguments[3]);
    if (arguments[0].equals("build")) {
      build(features, vectors, index);
    } else {
      search(features, vectors, index, Integer.parseInt(arguments[4]));
    }
  }

  private static void build(boolean features, Path vectors, Path index) throws IOException {
    long start = System.nanoTime();
    IndexWriterConfig config = new IndexWriterConfig((Analyzer) null);
    config.setRAMBufferSizeMB(1024);
    config.setSimilarity(new Impact());
    // Documents keep their order, so that their numbers are ours.
    config.setMergePolicy(new LogDocMergePolicy());
    int documents;
    try (MMapDirectory directory = new MMapDirectory(index);
        IndexWriter writer = new IndexWriter(directory, config);
        VectorFile file = new VectorFile(vectors.resolve("documents.bin"))) {
      documents = file.count;
      Impacts impacts = new Impacts();
      FieldType type = new FieldType();
      type.setTokenized(true);
      type.setOmitNorms(true);
      type.setIndexOptions(IndexOptions.DOCS_AND_FREQS);
      for (int number = 0; number < documents; number++) {
        Vector vector = file.next();
        Document document = new Document();
        if (features) {
          for (int place = 0; place < vector.tokens.length; place++) {
            document.add(new FeatureField(FIELD, name(vector.tokens[place]), vector.weights[place]));
          }
        } else {
          impacts.vector = vector;
          document.add(new Field(FIELD, impacts, type));
        }
        writer.addDocument(document);
      }
      writer.forceMerge(1);
    }
    long bytes = 0;
    try (MMapDirectory directory = new MMapDirectory(index)) {
      for (String name : directory.listAll()) {
        bytes += directory.fileLength(name);
      }
    }
    print(
        "{\"engine\":\"lucene %s\",\"step\":\"build\",\"documents\":%d,\"seconds\":%.2f,\"index_bytes\":%d,"
            + "\"bytes_per_document\":%.1f}",
        mode(features), documents, (System.nanoTime() - start) / 1e9, bytes, (double) bytes / documents);
  }

  private static void search(boolean features, Path vectors, Path index, int k) throws IOException {
    List<Query> queries = new ArrayList<>();
    try (VectorFile file = new VectorFile(vectors.resolve("queries.bin"))) {
      for (int number = 0; number < file.count; number++) {
        queries.add(query(features, file.next()));
      }
    }
    List<String> expected = Files.readAllLines(vectors.resolve("best-" + k + ".txt"));
    double[] latenciesMs = new double[queries.size()];
    long found = 0;
    long all = 0;
    try (DirectoryReader reader = DirectoryReader.open(new MMapDirectory(index))) {
      IndexSearcher searcher = new IndexSearcher(reader);
      searcher.setSimilarity(new Impact());
      searcher.setQueryCache(null);
      // Compiled code and cached pages first, and then each query once.
      for (int pass = 0; pass < 4; pass++) {
        for (int number = 0; number < latenciesMs.length; number++) {
          long start = System.nanoTime();
          ScoreDoc[] best =
              searcher.search(queries.get(number), new TopScoreDocCollectorManager(k, null, k)).scoreDocs;
          latenciesMs[number] = (System.nanoTime() - start) / 1e6;
          if (pass == 0) {
            Set<String> ids = new HashSet<>(Arrays.asList(expected.get(number).split(" ")));
            all += ids.size();
            for (ScoreDoc hit : best) {
              found += ids.contains(Integer.toString(hit.doc)) ? 1 : 0;
            }
          }
        }
      }
    }
    double mean = Arrays.stream(latenciesMs).average().orElse(0);
    Arrays.sort(latenciesMs);
    print(
        "{\"engine\":\"lucene %s\",\"step\":\"search\",\"k\":%d,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"mean_ms\":%.4f,"
            + "\"recall\":%.4f}",
        mode(features), k, latenciesMs[latenciesMs.length / 2], latenciesMs[latenciesMs.length * 99 / 100], mean,
        (double) found / all);
  }

  private static Query query(boolean features, Vector vector) {
    BooleanQuery.Builder query = new BooleanQuery.Builder();
    for (int place = 0; place < vector.tokens.length; place++) {
      String token = name(vector.tokens[place]);
      float weight = vector.weights[place];
      Query clause =
          features
              ? FeatureField.newLinearQuery(FIELD, token, weight)
              : new BoostQuery(new TermQuery(new Term(FIELD, token)), weight);
      query.add(clause, Occur.SHOULD);
    }
    return query.build();
  }

  private static String name(int token) {
    return "t" + token;
  }

  private static String mode(boolean features) {
    return features ? "features" : "impacts";
  }

  private static void print(String format, Object... values) {
    System.out.println(String.format(Locale.ROOT, format, values));
  }

  private record Vector(int[] tokens, float[] weights) {}

  /** Vectors as the bench writes them. */
  private static final class VectorFile implements AutoCloseable {
    private final DataInputStream file;
    private final int count;

    VectorFile(Path path) throws IOException {
      file = new DataInputStream(new BufferedInputStream(Files.newInputStream(path), 1 << 20));
      count = words(1).getInt();
    }

    Vector next() throws IOException {
      int length = words(1).getInt();
      ByteBuffer words = words(2 * length);
      int[] tokens = new int[length];
      float[] weights = new float[length];
      for (int place = 0; place < length; place++) {
        tokens[place] = words.getInt();
      }
      for (int place = 0; place < length; place++) {
        weights[place] = words.getFloat();
      }
      return new Vector(tokens, weights);
    }

    private ByteBuffer words(int count) throws IOException {
      byte[] bytes = new byte[4 * count];
      file.readFully(bytes);
      return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }

  /** A vector as a stream of tokens with impacts for frequencies. */
  private static final class Impacts extends TokenStream {
    private final CharTermAttribute term = addAttribute(CharTermAttribute.class);
    private final TermFrequencyAttribute frequency = addAttribute(TermFrequencyAttribute.class);
    private Vector vector;
    private int place;

    @Override
    public boolean incrementToken() {
      if (place == vector.tokens.length) {
        return false;
      }
      clearAttributes();
      term.append(name(vector.tokens[place]));
      frequency.setTermFrequency(Math.max(1, Math.round(vector.weights[place] * IMPACTS_PER_UNIT)));
      place++;
      return true;
    }

    @Override
    public void reset() {
      place = 0;
    }
  }

  /** The frequency is the score. */
  private static final class Impact extends Similarity {
    @Override
    public long computeNorm(FieldInvertState state) {
      return 1;
    }

    @Override
    public SimScorer scorer(float boost, CollectionStatistics collection, TermStatistics... terms) {
      return new SimScorer() {
        @Override
        public float score(float frequency, long norm) {
          return boost * frequency;
        }
      };
    }
  }
}
