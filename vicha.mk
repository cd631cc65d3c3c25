# Building data sets with make: include this file and say what you have. GNU make 3.81 or newer.
#
#   VICHA  = vicha                     the program
#   CLIP   = models/vit-b-16           a CLIP model (Hugging Face or OpenCLIP layout)
#   VOCAB  = bert-base-uncased/vocab.txt
#   include vicha.mk
#
#   flickr.source = annotations/flickr.jsonl
#   flickr.extract = --root photos --size 384
#   all: flickr/.indexed
#
# A workspace WS is made in three steps. Each has a target that stands for "this stage is complete":
#
#   WS/.extracted   vicha extract    WS/vicha.db, WS/images/
#   WS/.mined       vicha concepts   concepts and scores in WS/vicha.db, WS/vectors/
#   WS/.indexed     vicha index      WS/records/index.json, or WS/records/SPLIT/index.json where the source has splits
#   WS/runs/NAME/model/model.safetensors   the model that the recipe WS/runs/NAME.json trains on the records
#
# Why stamps: vicha.db exists from the first second of `extract` and every stage writes to it, so its existence says
# nothing and its time too much. A stamp is made after its command ended well: a killed stage leaves none, and make again
# goes on where the stage stopped. Status 3 ("done, some inputs were rejected, each with its cause in vicha.db") is no
# failure: hence 'test $$? = 3'. WS/records/index.json, a real file that appears whole, may be asked for as well.
# `make -j` builds several workspaces at a time; the stages of one follow each other.
#
# Of one workspace alone: WS.source, its inputs (default: WS.jsonl, WS.json, WS.tsv or WS.csv), and WS.extract,
# WS.concepts, WS.index, options that follow those of EXTRACT_FLAGS, CONCEPTS_FLAGS and INDEX_FLAGS.
#
# `make -n` shows the commands, `make WS.stats` what was found, `make WS.clean` removes what was built.

VICHA ?= vicha
CLIP ?=
VOCAB ?=
EXTRACT_FLAGS ?=
CONCEPTS_FLAGS ?=
INDEX_FLAGS ?=
TRAIN_FLAGS ?=

.SECONDEXPANSION:
# Steps on the way to the records are kept.
.PRECIOUS: %/.extracted %/.mined %/.indexed

# The inputs of workspace $1: WS.source, or the list of the same name beside it.
vicha_source = $(or $($1.source),$(firstword $(wildcard $(foreach e,jsonl json tsv csv,$1.$e))),$1.jsonl)

%/.extracted: $$(call vicha_source,$$*)
	$(strip $(VICHA) extract -w $* $(EXTRACT_FLAGS) $($*.extract) $^) || test $$? = 3
	@touch $@

%/.mined: %/.extracted $$(wildcard $$(addsuffix /config.json,$$(CLIP)))
	$(strip $(VICHA) concepts -w $* --clip $(or $(CLIP),$(error CLIP: set it to the folder of a CLIP model)) $(CONCEPTS_FLAGS) $($*.concepts)) || test $$? = 3
	@touch $@

%/.indexed: %/.mined $$(VOCAB)
	$(strip $(VICHA) index -w $* --vocab $(or $(VOCAB),$(error VOCAB: set it to a BERT vocab.txt)) $(INDEX_FLAGS) $($*.index)) || test $$? = 3
	@touch $@

%/records/index.json: %/.indexed
	@test -f $@ || { echo "'$@' is not there: the source has splits, ask for '$<'" >&2; exit 1; }
	@touch $@

# A training run of a recipe: WS/runs/NAME/model from WS/runs/NAME.json, after the records.
%/model/model.safetensors: %.json $$(firstword $$(subst /runs/, ,$$*))/.indexed
	$(strip $(VICHA) train $< -w $(firstword $(subst /runs/, ,$*)) --out $* $(TRAIN_FLAGS))

.PHONY: %.stats %.clean
%.stats:
	$(VICHA) stats -w $*
%.clean:
	rm -rf $*/.extracted $*/.mined $*/.indexed $*/vicha.db* $*/vicha.lock $*/images $*/vectors $*/records
