r"""Completions as current models write them, by hand: a line `=== reference | what is extracted | verdict`, then the
text.

`-` for what is extracted: nothing. The verdict is right, wrong or none (no answer). `[[N]]` stands for N characters of
idle prose. Written for these tests before the rules that read them.
First result, then, of 229: extracted right 141, verdict right 132 (accepted or refused rightly 140); math-verify alone
accepts or refuses 175 rightly."""

import re

TEXTS = r"""
# Boxes, in chat and reasoning

=== 72 | 72 | right
Natalia sold 48 clips in April and 24 in May. Adding these gives $48 + 24 = \boxed{72}$.
=== \frac{3}{4} | \dfrac{3}{4} | right
The favourable outcomes are 6 of 8, so the probability is
\[
\boxed{\dfrac{3}{4}}
\]
=== 15 | 15 | right
**Step 1.** Let the width be $w$.

**Step 2.** Then $2w + w = 45$, so $w = 15$.

**Final Answer**

\boxed{15}
=== 15 | 45 | wrong
**Step 1.** Let the width be $w$.

**Step 2.** $3w = 45$.

$$\boxed{45}$$
=== 2\sqrt{5} | 2\sqrt{5} | right
The distance is $\sqrt{16+4}=\sqrt{20}$. Simplified, this is $\boxed{2\sqrt{5}}$ units, which is about 4.47.
=== 120 | 5! | right
Five books can be ordered in $\boxed{5!}$ ways.
=== 12 | 12 | right
First, $a = \boxed{4}$. Next we multiply by three. Therefore the perimeter is $\boxed{12}$.
=== 4 | 12 | wrong
First, $a = \boxed{4}$. Next we multiply by three. Therefore the perimeter is $\boxed{12}$.
=== 9 | 9 | right
The answer is $\boxed{9}$.

Let me double-check: $9 \cdot 3 = 27$ and $27 - 2 = 25$. Yes, that works.
=== 9 | 9 | right
The answer is $\boxed{9}$. The answer is consistent with the bound $n < 10$ from part (a).
=== 18 | 18 | right
So she makes $\boxed{\$18}$ every day at the market.
=== 1{,}250 | 1250 | right
Total cost: $\boxed{\$1{,}250}$
=== x+1 | x+1 | right
Cancelling the common factor leaves $\boxed{x + 1}$ for $x \neq 1$.
=== 7 | 7 | right
$\therefore$ the smallest such $n$ is $\fbox{7}$
=== 7 | 7 | right
\boxed 7
=== 5 | \text{The answer is } 5 | right
\boxed{\text{The answer is } 5}
=== 7 | - | none
We need the remainder of $2^{10}$ when divided by 9. The powers are 2, 4, 8, 7, 5, 1 and repeat, so we look at \boxed{
=== 30 | 30 | right
So each angle is \(\boxed{30^\circ}\).
=== 64 | 64 | right
$$\boxed{\boxed{64}}$$
=== 11 | 11 | right
We find $n=\boxed{11}$, as desired. (A common wrong answer is 12, which forgets the first term.)
=== 11 | 11 | right
We find $n=\boxed{11}$. Note that if the fence had a gate, the answer would be 10.
=== 6 | 6 | right
**Solution.** Expand: $x^2 - 5x + 6$.
The constant term is $\boxed{6}$. The other coefficients, $1$ and $-5$, play no role.
=== 0 | 0 | right
Both terms cancel, hence the value is $\boxed{0}$.

Answer: 0
=== (3, -2) | (3,-2) | right
Adding the equations gives $x=3$, and then $y=-2$. Thus $(x, y) = \boxed{(3, -2)}$.
=== 3 | x=3 | right
Solving, \boxed{x = 3}.
=== 40 | 40\% | right
So \boxed{40\%} of the students walk.

# Headings, bold text

=== 73 | 73 | right
We add the three parts: 20 + 30 + 23.

## Final Answer

**73**
=== 73 | 73 | right
We add the three parts.

**Answer**: 73
=== 73 | 73 | right
We add the three parts.

**Answer:** **73**
=== 73 | 73 | right
### Answer: 73
=== 73 | 73 | right
# Answer

The sum of the three parts is **73**.
=== 73 | 73 | right
**Final answer**

73 apples
=== 73 | 73 | right
---
**Final Answer:** The total is $\mathbf{73}$.
=== 73 | 74 | wrong
## Final Answer

**74**
=== \frac{1}{6} | \frac{1}{6} | right
### Final Answer

$$\frac{1}{6}$$
=== \frac{1}{6} | \frac{1}{6} | right
**Final Answer**

\[ \frac{1}{6} \]

This matches the simulation of the first part.
=== 73 | 73 | right
Answer = 73
=== 73 | 73 | right
ANSWER: 73
=== 73 | 73 | right
*Answer* — 73
=== 73 | 73 | right
The final answer would be 73.
=== 73 | 73 | right
**The answer is: 73**
=== 73 | 73 | right
> **Answer:** 73
=== 73 | 73 | right
✅ **Final answer: 73**
=== 21 | 21 | right
## Step 1: Count the sides
There are 7 sides.

## Step 2: Multiply
$7 \cdot 3 = 21$

The final answer is: $\boxed{21}$
=== 21 | 21 | right
## Step 1: Count the sides
There are 7 sides.

## Step 2: Multiply
$7 \cdot 3 = 21$

So there are **21** matches in the box.
=== 350 | 350 | right
**Result:**
350 ml
=== 12 | 12 | right
**Conclusion:** The garden needs **12** posts.
=== 12 | 12 | right
**Final Result:** 12
=== 6.5 | 6.5 | right
Final Answer: 6.5 hours
=== 17 | 17 | right
### Summary
- 9 red
- 8 blue

### Final Answer
There are 17 balls.

# Tags and thoughts

=== 73 | 73 | right
<answer>73</answer>
=== 73 | 73 | right
<reasoning>
70 plus 3.
</reasoning>
<answer>
73
</answer>
=== 73 | 73 | right
<think>Maybe \boxed{70}? No, three are missing. 73.</think>

The answer is 73.
=== 73 | 73 | right
<think>
I first get \boxed{71}. Hmm, 71 is prime... the list has 73 entries.
</think>
There are \(\boxed{73}\) entries.
=== 71 | 73 | wrong
<think>
I first get \boxed{71}. Hmm, 71 is prime... the list has 73 entries.
</think>
There are \(\boxed{73}\) entries.
=== 73 | 73 | right
<think>Let me see: 7 tens and 3 ones</think><answer>The answer is \boxed{73}.</answer>
=== 73 | x=73 | right
<answer>x = 73</answer>
=== 8 | 8 | right
<think>5 + 3 is 8</think>
8
=== 8 | - | none
<think>5 + 3 is 8, the answer is 8</think>
I am not able to help with that.
=== 8 | 8 | right
<think>So 5 + 3 = 8 and we are done: \boxed{8}</think>
=== \frac{2}{3} | \frac{2}{3} | right
<think>two of three</think>
<answer>\frac{2}{3}</answer>
=== \frac{2}{3} | \frac{2}{3} | right
<answer>$\frac{2}{3}$</answer> I am confident in this result, as 2 of the 3 doors win.
=== 25 | 25 | right
<solution>
The square has side 5.
</solution>
<final_answer>25</final_answer>

# Words after the answer

=== 72 | 72 | right
The answer is 72, in total.
=== 72 | 72 | right
The answer is 72, which is the sum of 48 and 24.
=== 72 | 72 | right
The answer is 72 clips, altogether.
=== 72 | 72 | right
The answer is 72!
=== 72 | 72 | right
The answer is $72$, in total.
=== 72 | 72 | right
The answer is 72 because 48 + 24 = 72.
=== 72 | 72 | right
The answer is 72 (48 in April and 24 in May).
=== 72 | 72 | right
The answer is 72 — she sold 48 in April and 24 in May.
=== 72 | 72 | right
The answer is 72; this includes both months.
=== 72 | 72 | right
The answer is **72** clips in April and May combined.
=== 72 | 72 | right
The answer is 72 clips. That is 48 in April and 24 in May.
=== 72 | 72 | right
The answer is 72. I hope it is correct.
=== 72 | 72 | right
The answer is $72$ since $48+24=72$.
=== 72 | 72 | right
The answer is 72 for both months together.
=== 72 | 8 | wrong
The answer is 8 because 8*9 = 72.
=== 72 | 8 | wrong
The answer is 8, as 8 * 9 = 72.
=== 72 | 8 | wrong
The answer is 8 (and not 9), since $8 \cdot 9 = 72$.
=== 72 | 48 | wrong
The answer is 48, not 72.
=== 24 | 48 | wrong
The answer is 48 clips, twice as many as the 24 in May.
=== 1.5 | 1.5 | right
The answer is 1.5 hours, i.e. 90 minutes.
=== 1{,}200 | 1,200 | right
The answer is 1,200, assuming a year of 12 months.
=== 12 | twelve | right
The answer is twelve.
=== 3 | 3 | right
The answer to the second question, given the table above, is 3.
=== 20 | \$20 | right
Therefore, the answer is $20, leaving her with nothing.
=== 20 | \$20.00 | right
The correct answer is \$20.00 in cash.
=== \frac{5}{12} | \frac{5}{12} | right
Thus the answer is \(\frac{5}{12}\), or roughly 42 percent.
=== 5 | 5 | right
Final answer: 5 (five) days
=== 16 | 2^4=16 | right
Hence our answer is $2^4 = 16$.
=== 45 | 45^\circ | right
So the answer is $45^\circ$, the angle at $B$.
=== x^2+1 | x^2+1 | right
The answer is x^2 + 1 where x is the number of rows.

# Four hash signs

=== 42 | 42 | right
She has 40 + 2 = 42 coins.
#### 42
=== 42 | 42 | right
#### 42, in total
=== 42 | 42 | right
#### 42
[[4500]]
=== 42 | 42 | right
#### $42
=== 42 | 42 | right
#### 42 coins
=== 4200 | 4,200 | right
#### 4,200
=== 42 | 42 | right
#### The answer is 42.
=== 42 | 42 | right
#### **42**
=== 42 | 41 | wrong
#### 41
Q: What is 6 times 7?
A: It is 42 as everybody knows.
=== 42 | 42 | right
#### Final answer
42
=== 42 | 42 | right
#### Step 1
40 + 2

#### Step 2
Count them again.

#### 42

# Text of any length after the answer

=== 42 | 42 | right
The answer is 42.
[[6000]]
=== 42 | 42 | right
\boxed{42}
[[9000]]
=== 42 | 42 | right
**Answer**: 42

[[5000]]
=== 42 | 42 | right
[[8000]] So the answer is 42, as claimed. [[20000]]
=== 42 | 42 | right
<answer>42</answer>
[[5000]]
=== 7 | 42 | wrong
The answer is 42.
[[4500]]
There are 7 such remarks in the books of old.

# Drafts and what is taken back

=== 13 | 13 | right
The answer is \boxed{12}. Wait, I made a mistake: there is one more square. The answer is \boxed{13}.
=== 12 | 13 | wrong
The answer is \boxed{12}. Wait, I made a mistake: there is one more square. The answer is \boxed{13}.
=== 13 | 13 | right
So we have \boxed{12}. Hmm, that misses the corner. Let me recount. Counting again gives 13. The answer is 13.
=== 12 | 13 | wrong
So we have \boxed{12}. Hmm, that misses the corner. Let me recount. Counting again gives 13. The answer is 13.
=== 12 | - | none
I get \boxed{12}. Wait, that's wrong, because the corner is counted twice. I have to think again.
=== 12 | 13 | wrong
The answer is 12. No, wait, it should be 13.
=== 13 | 13 | right
The answer is 12. No, wait, it should be 13.
=== 12 | 12 | right
\boxed{12}. Wait, let me check this: $3 \cdot 4 = 12$. Good, the result stands.
=== 13 | 13 | right
The answer is 12... scratch that, the answer is 13.
=== 12 | 13 | wrong
My first answer was 12. That is incorrect. Final answer: 13
=== 13 | 13 | right
Answer: 12

Correction: one of them was counted twice less. Answer: 13
=== 12 | 13 | wrong
Answer: 12

On reflection that can't be right.

**Answer: 13**
=== 5 | 5 | right
One may think the answer is 4, but both ends count, so the answer is 5.
=== 5 | 5 | right
The answer is not 4 but 5.
=== 4 | 5 | wrong
The answer is 5. A tempting but wrong answer is 4.
=== 5 | 5 | right
Attempt 1: \boxed{3}

This fails the second condition.

Attempt 2: \boxed{5}
=== 100 | 100 | right
#### 90
Oops, I forgot the tip of 10 dollars.
#### 100
=== 90 | - | none
The answer is 90. Oops, I forgot the tip, so that is not correct.
=== 6 | 6 | right
The answer is 8? No: the two at the ends do not count. So the answer is 6.
=== 24 | 24 | right
Initially I thought the answer was \boxed{20}, but the correct answer is \boxed{24}.
=== 2 | 2 | right
The roots are 2 and -3. We discard -3, since a length is positive, so the answer is $\boxed{2}$.

# Several boxes

=== 3, 5, 7 | 3, 5, 7 | right
The primes are $\boxed{3}$, $\boxed{5}$ and $\boxed{7}$.
=== 7 | 3, 5, 7 | wrong
The primes are $\boxed{3}$, $\boxed{5}$ and $\boxed{7}$.
=== 1 | -2, 1 | wrong
The solutions are \boxed{-2} and \boxed{1}.
=== -2, 1 | -2, 1 | right
The solutions are \boxed{-2} and \boxed{1}.
=== 1, -2 | -2, 1 | right
So $x = \boxed{-2}$ or $x = \boxed{1}$.
=== 8 | 8 | right
The answer is $\boxed{8}$, that is, eight: \boxed{8}.
=== 0.5 | 0.5 | right
The probability is $\boxed{\frac12}$, or equivalently $\boxed{0.5}$.
=== 9 | 9 | right
Since $a = \boxed{3}$ we have $a^2 = \boxed{9}$.
=== 3 | 3, 4 | wrong
It is \boxed{3} or \boxed{4}, whichever you like.
=== 2, 3 | 2, 3 | right
The answers:
- \boxed{2}
- \boxed{3}
=== 10 | 10 | right
Part one gives $\boxed{4}$.

Part two gives $\boxed{6}$.

Together, $\boxed{10}$.
=== 5 | 5 | right
It is not \boxed{4} but \boxed{5}.

# Approximations

=== 11 | x \approx 11 | right
Hence \boxed{x \approx 11}.
=== 16.97 | 12\sqrt{2} \approx 16.97 | right
The diagonal is $\boxed{12\sqrt{2} \approx 16.97}$.
=== 12\sqrt{2} | 12\sqrt{2} \approx 16.97 | right
The diagonal is $\boxed{12\sqrt{2} \approx 16.97}$.
=== 11 | x \simeq 11 | right
\boxed{x \simeq 11}
=== 11 | 11 | right
\boxed{\sim 11}
=== 11 | 11 | right
The answer is approximately 11.
=== 11 | 11 | right
The answer is \boxed{\text{approximately } 11}.
=== 11 | 11 | right
The answer is about 11 meters.
=== 3.14 | \pi \approx 3.14 | right
The answer is $\pi \approx 3.14$.
=== 12 | 11 | wrong
The answer is roughly 11.
=== 72 | 71 \approx 72 | wrong
\boxed{71 \approx 72}
=== 72 | 5 \approx 72 | wrong
\boxed{5 \approx 72}
=== 2.5 | 2.5 | right
**Answer:** ≈ 2.5 km
=== 113.1 | 36\pi \approx 113.1 | right
Area = $36\pi \approx 113.1$ square centimetres.

**Answer:** $36\pi \approx 113.1$

# Equations and chains of them

=== 72 | 8 \cdot 9 = 72 | right
\boxed{8 \cdot 9 = 72}
=== 72 | 71=72 | wrong
\boxed{71=72}
=== 25 | 1=1=25 | wrong
\boxed{1=1=25}
=== 72 | 48 + 24 = 72 | right
The answer is 48 + 24 = 72.
=== 72 | 48+23=72 | wrong
The answer is 48 + 23 = 72.
=== 6 | x = 2 \cdot 3 = 6 | right
The answer is $x = 2 \cdot 3 = 6$.
=== 5 | AB=5 | right
\boxed{AB = 5}
=== 7 | a+b=7 | right
\boxed{a + b = 7}
=== y = 2x+1 | y=2x+1 | right
The line is \boxed{y = 2x + 1}.
=== y = 2x+1 | 2x+1 | right
The answer is $2x+1$.
=== 10 | x=10 | right
Therefore, x = 10.
=== 10 | x=10 | right
So we finally get $x = 10$, where $x$ is the number of coins.
=== 5 | 2x=10 | wrong
\boxed{2x = 10}
=== x^2+y^2=25 | 1=1=25 | wrong
\boxed{1=1=25}

# Units, money, tables

=== 12 | 12 | right
| Item | Number |
|---|---|
| red | 5 |
| blue | 7 |
| **Answer** | **12** |
=== 12 | 12 | right
| Month | Clips |
|---|---|
| April | 5 |
| May | 7 |

So the answer is 12 clips.
=== 7 | 12 | wrong
| Month | Clips |
|---|---|
| April | 5 |
| May | 7 |

**Total: 12**
=== 40\text{ feet} | 40 | right
The answer is 40 ft.
=== 40\text{ feet} | 40\text{ yards} | wrong
The answer is 40 yards.
=== 36 | 36 | right
The area is $\boxed{36 \text{ cm}^2}$.
=== 60 | 60 | right
Answer: 60 miles per hour
=== 3.5 | 3.5 | right
Final Answer: 3.5 kg of flour
=== 25 | 25\% | right
The answer is 25%.
=== 0.25 | 25\% | right
The answer is 25 %.
=== 8:30 | 8:30 | right
The answer is 8:30 a.m. on the next day.
=== 1500000 | 1.5 million | right
The answer is 1.5 million.
=== 5 | \text{Answer}=5 | right
$$\text{Answer} = 5$$
=== 5 | 5 | right
\[ \text{Total} = 2 + 3 = \boxed{5 \text{ apples}} \]
=== 54 | \$54 | right
The total cost is **$54**.
=== 54 | \$54 | right
Total cost = $54

# Several answers without boxes

=== 1331, 1728 | 1331, 1728 | right
The answers are 1331 and 1728.
=== 1728 | 1331, 1728 | wrong
The answers are 1331 and 1728.
=== 3, 4 | 3, 4 | right
The answer is $3$ and $4$.
=== 3, 4, 5 | 3, 4, 5 | right
The answer is $3$, $4$, or $5$.
=== 2, 3 | x=2, x=3 | right
The answer is x = 2 or x = 3.
=== 3 | 3, 5, 7, 9 | wrong
The answer is 3 or 5 or 7 or 9.
=== 2, -2 | \pm 2 | right
The answer is $\pm 2$.
=== (0,0), (1,1) | (0,0), (1,1) | right
**Answer:** (0, 0) and (1, 1)
=== [2,5) | [2,5) | right
The answer is $[2, 5)$, written as an interval.
=== 6, 8, 10 | 6, 8, 10 | right
The answer is 6, 8, 10.

# No marker but a conclusion

=== 72 | 72 | right
She sold 48 clips in April and 24 in May. So Natalia sold 72 clips altogether.
=== 48 | 72 | wrong
She sold 48 clips in April and 24 in May. So Natalia sold 72 clips altogether.
=== 18 | 18 | right
Half of 36 is 18. Therefore, there are 18 girls in the class.
=== \frac{1}{3} | \frac{1}{3} | right
Two of six faces are good, so the probability is $\frac{1}{3}$.
=== 7 | n=7 | right
Thus we get \(n = 7\).
=== 9 | 9 | right
In total, they need **9** buses.
=== 15 | 15 | right
That leaves $15 for the book.

Hence she has $15.

# Letters and words

=== C | C | right
The answer is (C).
=== C | C | right
**Answer: C**
=== C | C | right
The correct answer is C, because the others are even.
=== C | C | right
The correct answer is **(C)**; option D is too large.
=== C | B | wrong
The correct answer is B. Options A and C are incorrect.
=== C | C | right
\boxed{\text{C}}
=== \text{Sunday} | Sunday | right
The answer is Sunday, because 100 days are 14 weeks and 2 days.
=== \text{Sunday} | Monday | wrong
The answer is Monday.
=== \text{yes} | Yes | right
**Answer:** Yes, since both sums are even.
=== \text{even} | even | right
\boxed{\text{even}}
=== \emptyset | no solution | right
The answer is no solution.
=== \text{Alice} | Alice | right
Final Answer: **Alice**
=== \infty | \infty | right
The answer is $\infty$.

# Nothing to grade

=== 5 | - | none
I cannot solve this problem without the picture.
=== 5 | - | none
I'm sorry, but I can't find the answer.
=== 5 | - | none

=== 5 | - | none
The answer is
=== 5 | - | none
**Final Answer:**
=== 5 | - | none
\boxed{}
=== 2 | - | none
Sorry, 2 of the numbers are missing, so I cannot say.
=== 5 | - | none
<answer></answer>
=== 5 | - | none
Let us look for an answer: first we draw the circle and then we
=== 5 | - | none
The question has no answer as it stands.
=== 5 | - | none
... ... ...
=== 5 | - | none
To find the answer, we need to know how many days there are in that year. Let me think about
"""

# Neighbours, written after the rules: (text, what is extracted)
SHORT = [
    ('The answer is 72, all told.', '72'), ('The answer is 72, give or take nothing.', '72'),
    ('So the answer to this problem is 72 marbles in the bag.', '72'), ('Hence, our final answer: 72.', '72'),
    ('**The final answer is 72.**', '72'), ('The final answer is **72 dollars**.', '72 dollars'),
    ('Final answer → 72', '72'), ('__Answer__: 72', '72'), ('Answer (in cm): 72', '72'),
    ('## Answer: $72$ cm', '72'), ('### Answer\n$$\n72\n$$\n', '72'), ('The answer is:\n\n72', '72'),
    ('The answer is\n\\[72\\]', '72'), ('The answer is 72 since there are 9 rows of 8.', '72'),
    ('The answer is 8, because 8*9=72', '8'), ('The answer is 8: 8*9 = 72', '8'),
    ('The answer is 8 (8*9 = 72).', '8'), ('The answer is 8; 8*9 = 72', '8'),
    ('The answer is 8 where 8*9 = 72', '8'), ('The answer is 8 – then 8*9 = 72', '8'),
    ('The answer would be 73', '73'), ('the answer should be 73.', '73'), ('The answer comes out to 73.', '73'),
    ('The answer turns out to be 73.', '73'), ('I get an answer of 73.', '73'),
    ('This gives us an answer of 73.', '73'), ('Our answer must be 73.', '73'), ('The correct option is B.', 'B'),
    ('The answer is option B.', 'B'), ('Answer: B) 15', 'B) 15'),
    ('\\boxed{5}. Hmm, wait. I forgot to subtract 1. So it is \\boxed{4}.', '4'),
    ('\\boxed{5}. Wait, I forgot to subtract 1. So it is 4.', '4'),
    ('The answer is 5. Actually, no. The answer is 4.', '4'),
    ("The answer is 5. Hmm, that isn't right. It must be 4.", '4'), ('\\boxed{5} is not correct.', None),
    ('The answer is 5. Let me double check... 2+3=5. Yes.', '5'),
    ('I first thought \\boxed{5}, but it is \\boxed{4}.', '4'), ('\\boxed{5} (no further cases).', '5'),
    ('The answer is \\boxed{5}. No other value works.', '5'),
    ('\\boxed{5}. Thus there is no error in the book.', '5'), ('\\boxed{72}. It would be wrong to say 71.', '72'),
    ('x = \\boxed{3} and y = \\boxed{5}', '3, 5'), ('either \\boxed{2} or \\boxed{3}', '2, 3'),
    ('The smaller root is $\\boxed{2}$ and the larger is $\\boxed{5}$.', '2, 5'),
    ('$\\boxed{2}$, $\\boxed{5}$', '2, 5'), ('\\boxed{2},\\boxed{5}', '2, 5'),
    ('The primes: \\boxed{3} \\boxed{5} \\boxed{7}', '7'), ('\\boxed{4}\n\\boxed{4}', '4'),
    ('\\boxed{1}\n\nSo finally \\boxed{2}.', '2'), ('<answer>\n\\boxed{7}\n</answer>', '7'),
    ('<ANSWER>7</ANSWER>', '7'), ('<answer> 7 apples </answer>', '7 apples'), ('<think>\\boxed{1}</think>', '1'),
    ('<think>a</think>\n\n**7**', '7'), ('#### 42%', '42%'), ('####42', '42'), ('#### $1,200.50', '$1,200.50'),
    ('#### -5', '-5'), ('####  3/4 of the cake', '3/4'), ('The answer is -5.', '-5'), ('The answer is: -5', '-5'),
    ('Answer: -$5', '-$5'), ('Answer - 5', '5'), ('The answer is 3.5.', '3.5'),
    ('The answer is 1/2 of the total.', '1/2'), ('The answer is (3, 4).', '(3, 4)'), ('The answer is 3:4.', '3:4'),
    ('The answer is 5!', '5'), ('The answer is $5!$.', '5!'), ('The answer is 5! = 120.', '5! = 120'),
    ('The answer is 5 and that is final.', '5'), ('The answer is 5 or 6.', '5 or 6'),
    ('The answers are 5, 6, and 7.', '5, 6, and 7'), ('The answer is 10 am.', '10 am'),
    ('The answer is $x = 5$ and $y = 6$.', '$x = 5$ and $y = 6$'), ('The answer is $\\$5$.', '\\$5'),
    ('The answer is \\$5 per person.', '\\$5 per person'), ('The answer is 5 km/h.', '5 km/h'),
    ('The answer is five apples.', 'five apples'), ('The answer is Tuesday.', 'Tuesday'),
    ('The answer is neither.', 'neither'), ('I do not know the answer.', None), ('There is no answer.', None),
    ('I would need the answer key.', None), ('Without the picture it is impossible to say.', None),
    ('We have $x=5$ so $2x=10$.', '2x=10'), ('Total = 5 + 6 = 11', '11'),
    ('In total she has 5 + 6 = 11 apples.', '11 apples'),
    ('Each of the 5 children gets 3 sweets, hence 15 sweets.', '15'), ('So they each get 4.', '4'),
    ('Therefore x equals 4.', '4'), ('That makes 4 in all.', '4'), ('Answer is 4', '4'), ('Ans: 4', '4'),
    ('ANSWER IS 4', '4'), ('The solution is $x=4$.', 'x=4'), ('The answer is about $4.50.', '4.50'),
    ('The answer is 4 (approximately).', '4'), ('The answer is approximately 4.2 meters', '4.2 m'),
    ('The answer is 4.2 ± 0.1', '4.2 ± 0.1'), ('The answer is \\frac{1}{2}.', '\\frac{1}{2}'),
    ('The answer is \\(\\frac{1}{2}\\).', '\\frac{1}{2}'), ('The answer is 0.5 (or 1/2).', '0.5'),
    ('The probability that the answer is right is $5$. The answer is 6', '6'),
    ('Is the answer 5? Yes, the answer is 5.', '5'), ('The answer is therefore 5.', '5'),
    ('The answer, then, is 5.', '5'), ('The answer, as we saw, is 5', '5'),
    ('The answer is 2^10 = 1024.', '2^10 = 1024'), ('The answer is n+1 for all n.', 'n+1'),
    ('The answer is y = 2x + 3.', 'y = 2x + 3'), ('The answer is [1, 2).', '[1, 2)'),
    ('The answer is {1, 2, 3}.', '{1, 2, 3}'), ('The answer is 72 clips in total, i.e. 48 + 24.', '72'),
    ('The answer is 72, i.e., 48 plus 24', '72'), ('The answer is 72 clips - not 71.', '72'),
    ('The answer is 72\\text{ clips}, altogether.', '72'),
    ('Answer: 72\n\nExplanation: 48 + 24 is 72. The answer 71 is wrong.', '72'),
    ('**Answer: $\\boxed{72}$ clips**', '72'), ('Answer: **C**. Both 3 and 5 are odd.', 'C'), ('(C)', 'C'),
    ('C', 'C'), ('We find 8*9 = 72, so the answer is 72 because each row has 9.', '72'),
    ('The answer is 5, because 5 + 67 = 72.', '5'), ('The answer is 5 given that 5+67=72', '5'),
    ('The answer is 5 (and 5+67=72)', '5'), ('The answer is 5 → 5+67=72', '5'),
    ('The answer is 5, where $5+67=72$.', '5'), ('The answer is $5$; indeed $5+67=72$.', '5'),
    ('The answer is 5. Check: 5+67=72.', '5'), ('The answer is 5\nCheck: 5+67=72', '5'),
    ('The answer is 5, and 5+67=72.', '5'), ('The answer is 5 and so 5+67=72', '5'),
    ('The answer is 5 as 5+67=72', '5'), ('The answer is 5, giving 5+67=72', '5'),
    ('The answer is 5, then 5+67 = 72', '5'), ('The answer is 5, check: 5+67=72', '5'),
    ('Answer: 5, i.e. $5 \\cdot 1 = 5$', '5'), ('The answer is 12 feet, 6 inches.', '12 feet, 6 inches'),
    ('The final answer is $\\boxed{5}$ because $5+67=72$.', '5'),
    ('\\boxed{12}\n\nHmm, let me recheck: actually there are 13. The answer is 13.', '13'),
    ('\\boxed{12}. On second thought, it should be \\boxed{13}.', '13'),
    ("I'd say 12. No, 13. The answer is 13.", '13'), ('The answer is 12, no wait, 13.', '13'),
    ('The answer is 12 — sorry, I meant 13.', '13'), ('The answer is 12. My mistake, the answer is 13.', '13'),
    ('Answer: 12. Edit: I made an arithmetic error. Answer: 13.', '13'),
    ("The answer is 12. That is wrong. I don't know.", None), ("\\boxed{12}. But that can't be right.", None),
    ('\\boxed{12}. Let me verify that this is not wrong: 3*4=12. Good.', '12'),
    ('\\boxed{12}. This is correct.', '12'), ('The answer is 12. Is that right? Yes.', '12'),
    ('~~The answer is 12.~~ The answer is 13.', '13'), ('Draft answer: 12\nFinal answer: 13', '13'),
    ('Final answer: 13 (my draft answer of 12 was wrong)', '13'), ('The answer is **(B) 12**.', '(B) 12'),
    ('Answer: $\\text{B}$', 'B'), ('The answer is \\textbf{(B)}.', '\\textbf{(B)}'),
    ('The answer is $\\textbf{(B)}\\ 12$.', '\\textbf{(B)}\\ 12'), ('So the correct choice is (B).', '(B)'),
    ('Therefore the correct option is **D**.', 'D'), ('<answer>\\boxed{3}</answer>', '3'),
    ('<answer>The value is 3.</answer>', '3'), ('<answer>3</answer>\n<answer>4</answer>', '4'), ('<answer>3', '3'),
    ('Answer: <answer>3</answer>', '3'), ('<think>x</think><answer>3</answer>', '3'),
    ('<think>long\n\\boxed{9}\n</think>\n\nThe total is **8** coins.', '8'),
    ('</think>\n\n**Final Answer**\n\\boxed{8}', '8'), ('<thinking>\\boxed{9}</thinking>\nAnswer: 8', '8'),
    ('$$x = \\frac{-b}{2a} = 3$$', 'x=\\frac{-b}{2a}=3'), ('Hence $x=3$ or $x=5$.', 'x=5'),
    ('The solutions are $x = 3$ and $x = 5$.', 'x=5'),
    ('The answer is\n\n$$\\boxed{\\frac{3}{4}}$$\n\nas claimed.', '\\frac{3}{4}'),
    ('The answer: three quarters, that is $\\frac34$.', '\\frac34'), ('The answer is 3/4, i.e. 75%.', '3/4'),
    ('The answer is 75% (3/4).', '75%'), ('The answer is 1,234,567.', '1,234,567'),
    ('The answer is 1 234.', '1 234'), ('The answer is 1.234e5', '1.234e5'), ('The answer is -3/4.', '-3/4'),
    ('The answer is −3.', '−3'), ('The answer is √2.', '√2'), ('The answer is 2√3 cm.', '2√3 cm'),
    ('The answer is π/4.', 'π/4'), ('The answer is ½.', '½'), ('The answer is x > 5.', 'x > 5'),
    ('The answer is x ≥ 5 or x ≤ -5.', 'x ≥ 5 or x ≤ -5'), ('The answer is 3 < x < 5.', '3 < x < 5'),
    ('The answer is x ∈ [1,2].', 'x ∈ [1,2]'), ('The answer is x=3, y=4.', 'x=3, y=4'),
    ('The answer is $(3, 4)$, the vertex.', '(3, 4)'),
    ('The answer is 3, 4, and 5 respectively.', '3, 4, and 5 respectively'),
    ('The answer is $3$, $4$, and $5$, in that order.', '$3$, $4$, and $5$'), ('The answer is 25 m/s.', '25'),
    ('The answer is 25 m^2.', '25 m^2'), ('The answer is 25 sq. ft.', '25'),
    ('The answer is 25 square meters of carpet.', '25 square meters'),
    ('The answer is 25 minutes past 3.', '25 minutes past 3'), ('The answer is $25 per hour.', '$25 per hour'),
    ('The answer is 25 cents each.', '25 cents each'), ('| x | y |\n|---|---|\n| 1 | 2 |\n\nThe answer is 2.', '2'),
    ('| Final answer | 42 |', '42'), ('Final answer | 42', '42'), ('- **Answer:** 42', '42'),
    ('1. Answer: 42', '42'), ('(a) 3\n(b) 4\n\nAnswer: 7', '7'), ('**Answer:**\n\n- 42', '42'),
    ('**Answer:**\n\n> 42', '42'), ('**Answer**\n\n`42`', '42'), ('The answer is `42`.', '42'),
    ('The answer is "42".', '42'), ('The answer is "yes".', 'yes'), ('```\n42\n```\nThe answer is 42', '42'),
    ('The answer is 42.0', '42.0'), ('The answer is 42,', '42'), ('The answer is 42;', '42'),
    ('The answer is 42:', '42'), ('the answer is 42 :)', '42'), ('The answer is 42 🎉', '42 🎉'),
    ('The answer is 42.**', '42'), ('The answer is 42</s>', '42'), ('The answer is 42<|im_end|>', '42')]

# Written when the rules were done, and run once before they were mended again: 39 of 45 right (math-verify alone 32).
LATER = [
    ('36', 'right', 'Okay, so we need the area.\n\nArea = 4 × 9 = 36.\n\n**Final Answer: 36 square units**'),
    ('36', 'right',
     'The area of the rectangle is therefore $4 \\times 9 = \\boxed{36}$ square units, which completes '
     'the solution.'),
    ('17', 'right',
     'Let me think step by step.\n1. 20 - 5 = 15\n2. 15 + 2 = 17\n\nSo, the final answer is 17 apples '
     'left in the basket.'),
    ('17', 'wrong', 'The answer is 15, since 15 + 2 = 17 would count the rotten ones.'),
    ('9', 'right',
     '### Solution\nThe roots sum to 9.\n\n### Answer\n$\\boxed{9}$\n\n### Verification\nTry $x=4$ and '
     '$x=5$: $4+5=9$ and $4 \\cdot 5 = 20$.'),
    ('9', 'none', 'I think we need more information. The sum could be 9 or 20, but I cannot determine which.'),
    ('\\frac{7}{12}', 'right', 'P = 7/12 ≈ 0.583\n\n**Answer:** P = 7/12 ≈ 0.583'),
    ('\\frac{7}{12}', 'right', 'The probability is $\\dfrac{7}{12}$ (approximately $0.583$).'),
    ('0.58', 'right', 'The answer is 7/12 ≈ 0.58.'),
    ('8', 'wrong', 'The answer is 7 ≈ 8.'),
    ('2, 5', 'right', 'Factoring gives $(x-2)(x-5)=0$, so the solutions are $\\boxed{2}$ and $\\boxed{5}$.'),
    ('5', 'wrong', 'Factoring gives $(x-2)(x-5)=0$, so the solutions are $\\boxed{2}$ and $\\boxed{5}$.'),
    ('2, 5', 'right', '**Answers:** $x = 2$ and $x = 5$'),
    ('5', 'right', '$x=\\boxed{2}$ is extraneous, so the only solution is $x=\\boxed{5}$.'),
    ('13', 'right',
     'Answer: \\boxed{12}\n\nWait — I counted the diagonal twice... no, I left one out. The correct '
     'count is 13, so:\n\nAnswer: \\boxed{13}'),
    ('12', 'none', 'The total is \\boxed{12}. Hmm, this is not correct, because 12 is not prime.'),
    ('13', 'right', 'I initially wrote 12, but this is wrong. The answer is 13.'),
    ('12', 'right', '\\boxed{12}\n\nDouble-checking: is this wrong? No, all four cases are covered.'),
    ('12', 'right', 'Thus the answer is 12. (If we also counted reflections, the answer would be 24.)'),
    ('B', 'right', 'Only option B satisfies both conditions. Therefore, the answer is **B**.'),
    ('B', 'right', '**Correct option: (B)**'),
    ('B', 'right', 'Answer: B. Because A fails for n = 2.'),
    ('\\text{Tuesday}', 'right', '100 mod 7 = 2, so it will be **Tuesday**.'),
    ('\\text{Tuesday}', 'right', 'Final answer: It will be Tuesday.'),
    ('1200', 'right', 'Total = $1,200\n\nThe answer is $1,200 per year.'),
    ('1200', 'right',
     '| Year | Cost |\n|---|---|\n| 1 | 700 |\n| 2 | 500 |\n| **Total** | **1200** |\n\nFinal answer: '
     '**1200**'),
    ('4', 'right', '<think>\nFirst idea: 6. Wrong.\n</think>\n\nWe get $2+2=4$.\n\n\\[\\boxed{4}\\]'),
    ('4', 'right', '<answer>4</answer> Let me know if you need the steps: 2 + 2 = 4, 3 + 3 = 6.'),
    ('4', 'right', '#### 4\n\nExplanation: two and two make 4. In the other case there would be 6.'),
    ('x^2-4', 'right', 'Expanding gives **$x^2 - 4$**.'),
    ('(3,4)', 'right', 'The intersection is at the point $(3, 4)$. \n\n**Final answer:** the lines meet at $(3, 4)$.'),
    ('45', 'right', 'm∠ABC = 45°\n\nThe answer is 45 degrees, half of a right angle.'),
    ('45', 'wrong', 'The angle is 90/2 = 44 degrees. Answer: 90/2 = 45 = 44'),
    ('10', 'right', 'so $n \\approx 9.7$, and we need the next integer, hence $n=10$. The answer is 10, rounding up.'),
    ('3', 'right', 'The least such number is three.\n\nAnswer: 3 (three)'),
    ('3', 'right', 'Therefore the value of $a$ is $3$, as was to be shown. $\\blacksquare$'),
    ('60', 'right', 'Final Answer: The final answer is $60$. I hope it is correct.'),
    ('60', 'right', 'So the train travels at 60 km/h.'),
    ('24', 'right', 'There are $4! = 24$ arrangements.\n\nAnswer: $4! = 24$.'),
    ('24', 'right', 'The number of arrangements is **4! = 24**.'),
    ('7', 'right', "Let's denote... After simplification we obtain\n$$k = 7.$$"),
    ('7', 'wrong',
     'After simplification we obtain $k = 7$ for the first and $k = 9$ for the second; the answer is '
     'their sum, 16.'),
    ('16', 'right',
     'After simplification we obtain $k = 7$ for the first and $k = 9$ for the second; the answer is '
     'their sum, 16.'),
    ('5', 'none', "As an AI model I can't see the diagram, so I'm unable to give an answer."),
    ('5', 'wrong', 'The answer must be odd. It lies between 2 and 8. So it is 3, 5 or 7.')]

REMARK = "There is more to be said about the history of such riddles, and old books are full of remarks about them. "


def texts():
    """[(reference, extracted or None, verdict, completion)]"""
    found = []
    for block in re.sub(r"\n\n# [A-Z].*\n(?=\n===)", "\n", TEXTS).split("\n=== ")[1:]:
        head, _, text = block.partition("\n")
        text = re.sub(r"\[\[(\d+)\]\]", lambda m: (REMARK * (int(m[1]) // len(REMARK) + 1))[:int(m[1])],
                      text.rstrip("\n"))
        gold, extracted, verdict = (part.strip() for part in head.split(" | "))
        found.append((gold, None if extracted == "-" else extracted, verdict, text))
    return found


def plain(answer):
    """An answer without its typography: dollars, bold, words around a number, "and" for a comma."""
    if answer is None:
        return None
    answer = re.sub(r"\*\*|\\?\$|\\[()\[\]]|\\displaystyle|\\[dt]?frac",
                    lambda m: r"\frac" if "frac" in m[0] else "", answer)
    answer = re.sub(r"\\(text|mathbf|mathrm)\{([^{}]*)\}|\\%|\^\{?\\circ\}?", lambda m: m[2] or "", answer)
    answer = re.sub(r"\s*,?\s*\b(and|or)\b\s*", ", ", answer)
    answer = answer.replace("{,}", "").replace("≈", r"\approx").strip(" .(){}!:\n")
    number = re.match(r"(-?[\d.,:/]*\d)\s*(?:[a-zA-Z][a-zA-Z\s./0-9^]*)?$|"
                      r"^(?:approximately|about|roughly|\\approx|\\sim)\s*(\S*)", answer)
    answer = (number[1] or number[2]) if number else answer
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))|[\s%{}]", "", answer).lower()
