package cloud

// An Offer is what an account can rent. Its fields are those that the providers share; what a provider
// lists beside them is its file's own business.
type Offer struct {
	ID        string  // the provider's own: a GPU's id, an ask, an instance type, a cloud id
	GPU       string  // as this provider spells it
	Model     string  // as nvidia-smi spells it; "" is GPU
	VRAMGB    int     // per GPU
	Count     int     // GPUs on the machine; where the provider lets one choose, the most there are
	Price     float64 // USD per hour: for the machine as it is listed, or per GPU where the provider lists that
	Region    string
	Community bool
	Spot      bool
	VCPU      int
	MemoryGB  int
	CUDA      string
	// Stock is how many can be rented; what has none is not listed, or listed as having none.
	Stock int
	// Phantom is an offer that is listed as having stock and has none.
	Phantom bool
	// More is what else the provider's file wants to know.
	More map[string]any
}

// find returns the offer that ok accepts.
func (a *Account) find(ok func(Offer) bool) (*Offer, bool) {
	for i := range a.offers {
		if ok(a.offers[i]) {
			return &a.offers[i], true
		}
	}
	return nil, false
}
