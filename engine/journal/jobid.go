package journal

import (
	"context"
	"crypto/rand"
	"database/sql"
	"math/big"
	"strings"
	"time"
)

// idAlphabet has no characters that are mistaken for each other: no 0 o 1 i l.
const idAlphabet = "23456789abcdefghjkmnpqrstuvwxyz"

const idNameMax = 24 // of the readable part

// NewJobID returns an id for a job of this name, as "train-7f3k", that no job has had or will have,
// whoever asks for one at the same time.
func (j *Journal) NewJobID(ctx context.Context, name string) (string, error) {
	stem := idStem(name)
	for range 20 {
		tail, err := randomText(4)
		if err != nil {
			return "", err
		}
		id := stem + "-" + tail
		var isNew bool
		err = j.tx(ctx, "write", func(tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, "INSERT INTO job_ids (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", id, time.Now().UnixMilli())
			if err != nil {
				return err
			}
			n, err := done.RowsAffected()
			isNew = n == 1
			return err
		})
		if err != nil {
			return "", err
		}
		if isNew {
			return id, nil
		}
	}
	return "", defect("choose", "job id "+stem, "no free one found")
}

// idStem reduces a name to lower-case letters, digits and single dashes between them.
func idStem(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && s[len(s)-1] != '-' {
			b.WriteByte('-')
		}
	}
	stem := b.String()
	if len(stem) > idNameMax {
		stem = stem[:idNameMax]
	}
	if stem = strings.Trim(stem, "-"); stem == "" {
		return "job"
	}
	return stem
}

func randomText(n int) (string, error) {
	text := make([]byte, n)
	for i := range text {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(idAlphabet))))
		if err != nil {
			return "", err
		}
		text[i] = idAlphabet[k.Int64()]
	}
	return string(text), nil
}

// suggest returns the hint for an id that does not exist: up to three that are typed alike.
func (j *Journal) suggest(ctx context.Context, id string) (string, error) {
	recent, err := j.texts(ctx, "SELECT id FROM jobs ORDER BY seq DESC LIMIT 500")
	if err != nil {
		return "", err
	}
	var near []string
	for limit := 1; limit <= 2 && len(near) == 0; limit++ {
		for _, other := range recent {
			if typedAlike(id, other, limit) && len(near) < 3 {
				near = append(near, other)
			}
		}
	}
	if len(near) == 0 {
		return "list jobs with: bifrost ps -a", nil
	}
	return "did you mean " + strings.Join(near, " or ") + "?", nil
}

// typedAlike reports whether id is at most limit slips of the finger from other, or from as much of
// other's beginning as was typed.
func typedAlike(id, other string, limit int) bool {
	if len(id) <= 2*limit || len(id) > 2*idNameMax {
		return false
	}
	// row[i] is the distance of id[:i] from what of other has been read.
	row := make([]int, len(id)+1)
	for i := range row {
		row[i] = i
	}
	for k := range len(other) {
		diagonal := row[0]
		row[0] = k + 1
		for i := range len(id) {
			cost := diagonal
			if id[i] != other[k] {
				cost++
			}
			diagonal = row[i+1]
			row[i+1] = min(cost, row[i]+1, row[i+1]+1)
		}
		if row[len(id)] <= limit {
			return true
		}
	}
	return false
}
